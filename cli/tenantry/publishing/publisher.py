"""Publish a model: its artifact under its digest, then its card; the manifest is what the caller applies.

The artifact lands at `PREFIX/<tenant>/<digest>.onnx`, so publishing the same model again changes nothing,
and a published artifact is never overwritten by another.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from tenantry.publishing.artifact import Artifact
from tenantry.publishing.card import Card, Parity, succeeding
from tenantry.publishing.encoding import encode
from tenantry.publishing.errors import PublishError
from tenantry.publishing.files import Source, read_source
from tenantry.publishing.store import store_of
from tenantry_core.artifacts import ArtifactRefused, check_uri
from tenantry_core.names import LABEL_PATTERN, is_tenant
from tenantry_core.resources import API_VERSION
from tenantry_predictor.runtimes.parity import ParityReport


@dataclass(frozen=True, slots=True)
class Published:
    tenant: str
    uri: str
    sha256: str
    format: str
    """`onnx`, or the model's own safe format where no graph agrees with it."""
    card_uri: str
    parity: ParityReport | None
    """How the graph compares with the model; None where nothing was compared."""
    note: str
    """What was found, as a sentence for whoever published it."""

    def manifest(self, name: str | None = None, namespace: str = "") -> dict[str, Any]:
        """The TenantModel that serves it: apply it with kubectl, `tenantry apply` or a Kubernetes client.

        `name` is the tenant, made a DNS label where it is none.
        """
        name = name or resource_name(self.tenant)
        spec: dict[str, Any] = {"artifact": {"uri": self.uri, "sha256": self.sha256}}
        if self.tenant != name:
            spec = {"tenant": self.tenant, **spec}
        metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
        return {"apiVersion": API_VERSION, "kind": "TenantModel", "metadata": metadata, "spec": spec}


def publish(
    model: Any,
    *,
    tenant: str,
    to: str,
    sample: pd.DataFrame | None = None,
    metrics: Mapping[str, float] | None = None,
) -> Published:
    """Bring a model to the prefix `to` (`s3://bucket/path` or `file:///folder`), with its model card.

    `model` is a fitted scikit-learn estimator or pipeline, a model of XGBoost or LightGBM (Booster or
    estimator), an ONNX graph (ModelProto or bytes), or a path: a file of any of these, a pickle, or a folder
    that MLflow saved. It becomes an ONNX graph that is compared with the model on many rows; where none
    agrees it is published in a safe format of its own, which predictors serve as it is, slower.

    `sample` holds rows that the model answers. The first is kept in the artifact: predictors probe a new
    version with it before they route to it. `metrics` are figures for the card, such as `{"rmse": 3.1}`.

    The same model gives the same bytes under the same key: publishing again changes nothing but the card,
    and that only where what it says has changed. Raises PublishError.
    """
    if not is_tenant(tenant):
        raise PublishError(f"{tenant!r} is no tenant: use up to 63 letters, digits and . _ ~ @ -")
    prefix, figures = _prefix(to), _figures(metrics or {})  # conversion takes seconds: what is wrong first
    source = read_source(Path(model)) if isinstance(model, str | PathLike) else Source(model)
    artifact = encode(source, _table(sample))
    digest = hashlib.sha256(artifact.content).hexdigest()
    base = f"{prefix}{tenant}/{digest}"
    published = Published(
        tenant,
        f"{base}{artifact.suffix}",
        digest,
        artifact.format,
        f"{base}.card.json",
        artifact.parity,
        artifact.note,
    )
    _upload(published, artifact, figures)
    return published


def resource_name(tenant: str) -> str:
    """The tenant where that is a DNS label; else made from it, with digits that keep two tenants apart."""
    if re.fullmatch(LABEL_PATTERN, tenant):
        return tenant
    plain = re.sub(r"[^a-z0-9]+", "-", tenant.lower()).strip("-")[:54].rstrip("-")
    return "-".join(filter(None, [plain or "tenant", hashlib.sha256(tenant.encode()).hexdigest()[:8]]))


def _upload(published: Published, artifact: Artifact, figures: Mapping[str, float]) -> None:
    """The artifact first: a card never tells of what is not there."""
    uri = published.uri
    try:
        store = store_of(uri)
        store.put(uri, artifact.content)
        uri = published.card_uri
        card, earlier = _card(published, artifact, figures), store.get(uri)
        content = succeeding(card, earlier).encoded()
        if content != earlier:
            store.put(uri, content)
    except OSError as error:
        raise PublishError(f"{uri} cannot be written: {error}") from error


def _card(published: Published, artifact: Artifact, figures: Mapping[str, float]) -> Card:
    return Card(
        tenant=published.tenant,
        uri=published.uri,
        sha256=published.sha256,
        format=published.format,
        size=len(artifact.content),
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        inputs=artifact.inputs,
        sample=artifact.sample,
        libraries=artifact.libraries,
        parity=Parity.of(artifact.parity) if artifact.parity else None,
        metrics=figures,
    )


def _prefix(to: str) -> str:
    prefix = f"{to.rstrip('/')}/"
    try:
        if not prefix.startswith(("s3://", "file:///")):
            raise ArtifactRefused("it must begin with s3:// or file:///")
        check_uri(f"{prefix}model", [prefix], namespace="", tenant="")
    except ArtifactRefused as error:
        raise PublishError(f"{to} is no prefix to publish to: {error}") from error
    return prefix


def _table(sample: pd.DataFrame | None) -> pd.DataFrame | None:
    """With names of columns that are strings, as they are in requests."""
    if sample is None:
        return None
    if not isinstance(sample, pd.DataFrame):
        raise PublishError(f"the sample is a {type(sample).__name__}: give a pandas DataFrame of some rows")
    if sample.empty:
        raise PublishError("the sample holds no row")
    return sample.set_axis([str(name) for name in sample.columns], axis="columns")


def _figures(metrics: Mapping[str, float]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, value in metrics.items():
        try:
            figures[str(name)] = float(value)
        except (TypeError, ValueError) as error:
            raise PublishError(f"the metric {name!r} is {value!r}: give a number") from error
        if not math.isfinite(figures[str(name)]):
            raise PublishError(f"the metric {name!r} is {value!r}: leave out what could not be measured")
    return figures
