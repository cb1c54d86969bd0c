"""What a TenantModel may have before anything is loaded: its tenant, its pool, its storage, its users.

Checks run in the order tenant, pool, storage, format; the first that fails is the one told. Conflicts over
users come last: they take keys from a model, not the model from its users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from tenantry_core.artifacts import CODE_FORMATS, SAFE_FORMATS, ArtifactRefused, check_uri
from tenantry_core.resources import (
    Artifact,
    LabelSelector,
    LabelSelectorRequirement,
    PredictorPool,
    TenantModel,
)
from tenantry_core.slices import Reference, Users

Labels = Mapping[str, Mapping[str, str]]

CLAIM_REASONS = frozenset(
    {
        "TenantTaken",
        "PoolNotFound",
        "PoolNotAllowed",
        "NoSlots",
        "OutsideAllowedStorage",
        "FormatUnknown",
        "FormatNotTrusted",
        "UserConflict",
    }
)
"""What is judged without loading anything, and so is never older than the plan."""
EVERYBODY = Users()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason of the status, and a sentence that says what to do."""

    reason: str
    message: str


class Claim(msgspec.Struct, frozen=True):
    """What a model's spec is granted."""

    refusal: Refusal | None = None
    """Why the version that the spec asks for is not served."""
    conflict: Refusal | None = None
    """Which of its users belong to an older model; the rest of it is served."""
    users: Users = EVERYBODY
    """The users it answers for, without those of older models."""
    listed: bool = True
    """Whether it may stand in a slice at all; without a tenant or without any user it may not."""


GRANTED = Claim()
"""All that the spec asks for, to all users: the claim of nearly every model."""


def judge_claims(
    models: Mapping[str, TenantModel], pools: Mapping[str, PredictorPool], labels: Labels
) -> dict[str, Claim]:
    """One claim a model, by key; the order of the arguments' items plays no part."""
    if len(models) == 1:
        return {key: _judge_alone(model, pools, labels) for key, model in models.items()}
    by_age = sorted(models.values(), key=_age)
    owners: dict[str, TenantModel] = {}
    for model in by_age:
        owners.setdefault(model.tenant, model)
    keepers: dict[tuple[str, str, str], TenantModel] = {}
    claims = {}
    for model in by_age:
        owner = owners[model.tenant]
        if owner.metadata.namespace != model.metadata.namespace:
            claims[model.key] = Claim(refusal=_tenant_taken(model, owner), listed=False)
        else:
            users, conflict = _granted_users(model, keepers)
            refusal = admit(model, pools.get(model.spec.pool_ref.name), model.spec.artifact, labels)
            if conflict is not None and users.unfiltered:
                claims[model.key] = Claim(refusal or conflict, users=users, listed=False)
            else:
                claims[model.key] = Claim(refusal, conflict, users)
    return claims


def _judge_alone(model: TenantModel, pools: Mapping[str, PredictorPool], labels: Labels) -> Claim:
    """The only model of its tenant competes with none."""
    refusal = admit(model, pools.get(model.spec.pool_ref.name), model.spec.artifact, labels)
    if refusal is None and model.spec.users.unfiltered:
        return GRANTED
    return Claim(refusal, users=model.spec.users)


def wanted_reference(model: TenantModel) -> Reference:
    """What the spec asks for; without a digest, one slot has to resolve it."""
    artifact = model.spec.artifact
    return Reference(artifact.uri, artifact.effective_format, artifact.sha256)


def admit(
    model: TenantModel, pool: PredictorPool | None, artifact: Artifact | Reference, labels: Labels
) -> Refusal | None:
    """May the pool serve this artifact for this model? Asked of what is wanted and of what serves."""
    namespace = model.metadata.namespace
    if pool is None:
        name = model.spec.pool_ref.name
        return Refusal("PoolNotFound", f"there is no PredictorPool {name!r}; create it or name another one")
    selector = pool.spec.namespace_selector
    if selector is not None and not _selects(selector, labels.get(namespace, {})):
        return Refusal(
            "PoolNotAllowed",
            f"PredictorPool {pool.name!r} does not take models from namespace {namespace!r};"
            " ask its owner to widen namespaceSelector, or name another pool",
        )
    if pool.spec.replicas == 0:
        return Refusal("NoSlots", f"PredictorPool {pool.name!r} runs no slots; set its spec.replicas")
    try:
        check_uri(artifact.uri, pool.spec.storage.prefixes, namespace=namespace, tenant=model.tenant)
    except ArtifactRefused as error:
        return Refusal("OutsideAllowedStorage", str(error))
    form = artifact.effective_format if isinstance(artifact, Artifact) else artifact.format
    return _refuse_format(artifact.uri, form, pool)


def admission_rules(pool: PredictorPool) -> tuple[object, ...]:
    """All of a pool that `admit` goes by; where it selects namespaces by label, these count too."""
    spec = pool.spec
    return spec.namespace_selector, spec.replicas > 0, spec.storage.prefixes, spec.trust.formats


def _refuse_format(uri: str, form: str, pool: PredictorPool) -> Refusal | None:
    trusted = pool.spec.trust.formats or SAFE_FORMATS
    if form in trusted and form not in CODE_FORMATS:
        return None
    if not form:
        return Refusal(
            "FormatUnknown",
            f"the suffix of {uri} tells no format; set artifact.format to one of {', '.join(trusted)}",
        )
    if form in CODE_FORMATS:
        return Refusal(
            "FormatNotTrusted",
            f"opening {form} runs code, so predictors refuse it; convert the model with"
            " `tenantry publish` and apply the manifest it prints",
        )
    return Refusal(
        "FormatNotTrusted",
        f"PredictorPool {pool.name!r} does not trust the format {form!r}, but: {', '.join(trusted)}",
    )


def _age(model: TenantModel) -> tuple[str, str]:
    return model.metadata.creation_timestamp, model.metadata.uid


def _tenant_taken(model: TenantModel, owner: TenantModel) -> Refusal:
    return Refusal(
        "TenantTaken",
        f"tenant {model.tenant!r} belongs to namespace {owner.metadata.namespace!r}, which had the first"
        " model of it; set spec.tenant to another name",
    )


def _granted_users(
    model: TenantModel, keepers: dict[tuple[str, str, str], TenantModel]
) -> tuple[Users, Refusal | None]:
    """The model's user keys but for those that an older model of the tenant has; it joins the keepers."""
    wanted = model.spec.users
    if wanted.unfiltered:
        return wanted, None
    kept: dict[str, list[str]] = {"id": [], "prefix": []}
    lost: list[str] = []
    for kind, key in _user_keys(wanted):
        keeper = keepers.setdefault((model.tenant, kind, key), model)
        if keeper is model:
            kept[kind].append(key)
        else:
            lost.append(f"{kind} {key!r} (kept by {keeper.metadata.name})")
    if not lost:
        return wanted, None
    message = f"an older model answers for {', '.join(lost[:3])}{' and more' * (len(lost) > 3)}"
    conflict = Refusal("UserConflict", f"{message}; take these users out of one of the two")
    return Users(tuple(kept["id"]), tuple(kept["prefix"])), conflict


def _user_keys(users: Users) -> Iterable[tuple[str, str]]:
    for user in dict.fromkeys(users.ids):
        yield "id", user
    for prefix in dict.fromkeys(users.prefixes):
        yield "prefix", prefix


def _selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    exact = all(labels.get(key) == value for key, value in selector.match_labels.items())
    return exact and all(_meets(requirement, labels) for requirement in selector.match_expressions)


def _meets(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    """Kubernetes' rule: NotIn also holds where the key is missing."""
    present = requirement.key in labels
    match requirement.operator:
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case "In":
            return present and labels[requirement.key] in requirement.values
        case "NotIn":
            return not present or labels[requirement.key] not in requirement.values
