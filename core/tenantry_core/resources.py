"""The kinds of `tenantry.dev/v1alpha1`, as far as the code reads them. Checked against `crds/` by a test."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tenantry_core.artifacts import default_format
from tenantry_core.names import model_key
from tenantry_core.slices import Traffic, Users, Wire
from tenantry_core.wire import Tensor

GROUP = "tenantry.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

REFRESH_ANNOTATION = f"{GROUP}/refresh"
POOL_LABEL = f"{GROUP}/pool"
SLOT_LABEL = f"{GROUP}/slot"


class Metadata(Wire, frozen=True):
    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 1
    creation_timestamp: str = ""
    resource_version: str = ""
    deletion_timestamp: str = ""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class Condition(Wire, frozen=True):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


class Artifact(Wire, frozen=True):
    uri: str
    sha256: str = ""
    format: str = ""
    probe_user: str = ""

    @property
    def effective_format(self) -> str:
        """The stated format, else the one the suffix tells, else empty."""
        return self.format or default_format(self.uri) or ""


class PoolRef(Wire, frozen=True):
    name: str = "default"


class TenantModelSpec(Wire, frozen=True):
    artifact: Artifact
    tenant: str = ""
    users: Users = Users()
    pool_ref: PoolRef = PoolRef()
    min_replicas: int = 1
    max_replicas: int | None = None
    residency: Literal["OnDemand", "Pinned"] = "OnDemand"
    traffic: Traffic = Traffic()


class ActiveVersion(Wire, frozen=True):
    """The version that serves, so that it survives a lost slice."""

    version: str
    """Twelve digits of the digest, for people; `-` for a `{user_id}` model."""
    uri: str
    format: str
    generation: int
    sha256: str = ""


class TenantModelStatus(Wire, frozen=True):
    tenant: str = ""
    """The tenant that the model belongs to, stated or not: a column cannot work out a default."""
    url: str = ""
    active: ActiveVersion | None = None
    replicas: int = 0
    size_bytes: int = 0
    size: str = ""
    load_milliseconds: int = 0
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    last_refresh: str = ""
    """The value of the refresh annotation that the active version answers to."""
    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        for condition in self.conditions:
            if condition.type == kind:
                return condition
        return None


class TenantModel(Wire, frozen=True):
    metadata: Metadata
    spec: TenantModelSpec
    status: TenantModelStatus = TenantModelStatus()

    @property
    def key(self) -> str:
        return model_key(self.metadata.namespace, self.metadata.name)

    @property
    def tenant(self) -> str:
        return self.spec.tenant or self.metadata.name

    @property
    def refresh(self) -> str:
        return self.metadata.annotations.get(REFRESH_ANNOTATION, "")


class Cache(Wire, frozen=True):
    memory: str = ""
    disk: str = ""
    eviction: Literal["LFU", "LRU"] = "LFU"


class SecretRef(Wire, frozen=True):
    name: str


class S3Settings(Wire, frozen=True):
    endpoint: str = ""
    region: str = ""
    secret_ref: SecretRef | None = None


class Volume(Wire, frozen=True):
    claim_name: str
    mount_path: str = "/models"


class Storage(Wire, frozen=True):
    prefixes: tuple[str, ...] = ()
    s3: S3Settings = S3Settings()
    volume: Volume | None = None


class Trust(Wire, frozen=True):
    formats: tuple[str, ...] = ()


class LabelSelectorRequirement(Wire, frozen=True):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Wire, frozen=True):
    match_labels: dict[str, str] = msgspec.field(default_factory=dict)
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class PodTemplate(Wire, frozen=True):
    """Passed into the slots' pods as it is."""

    resources: dict[str, Any] = msgspec.field(default_factory=dict)
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    service_account_name: str = ""
    env: tuple[dict[str, Any], ...] = ()


class PredictorPoolSpec(Wire, frozen=True):
    replicas: int = 2
    cache: Cache = Cache()
    storage: Storage = Storage()
    trust: Trust = Trust()
    namespace_selector: LabelSelector | None = None
    template: PodTemplate = PodTemplate()


class PredictorPoolStatus(Wire, frozen=True):
    replicas: int = 0
    ready_replicas: int = 0
    selector: str = ""
    models: int = 0
    conditions: tuple[Condition, ...] = ()


class PredictorPool(Wire, frozen=True):
    metadata: Metadata
    spec: PredictorPoolSpec = PredictorPoolSpec()
    status: PredictorPoolStatus = PredictorPoolStatus()

    @property
    def name(self) -> str:
        return self.metadata.name

    def slot_names(self) -> tuple[str, ...]:
        """The slots that its replicas ask for: `<pool>-0` to `<pool>-<replicas - 1>`."""
        return tuple(f"{self.name}-{ordinal}" for ordinal in range(self.spec.replicas))


def from_manifest(manifest: object, kind: type[Wire]) -> Any:
    """A resource from its decoded YAML or JSON. Raises msgspec.ValidationError with the field's path."""
    return msgspec.convert(manifest, kind)
