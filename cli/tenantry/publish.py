"""Bring a trained model to where predictors read it: converted, compared, under its digest.

The artifact lands at `PREFIX/<tenant>/<digest>.onnx`, so publishing the same model again changes nothing,
and a published artifact is never overwritten by another.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tenantry.publish_store import put
from tenantry_core.artifacts import ArtifactRefused, check_uri
from tenantry_core.names import LABEL_PATTERN, is_tenant
from tenantry_core.resources import API_VERSION
from tenantry_predictor.errors import LoadError
from tenantry_predictor.runtimes import onnx as onnx_runtime
from tenantry_predictor.runtimes.columns import UnknownColumns, columns_of
from tenantry_predictor.runtimes.conversion import NotConvertible
from tenantry_predictor.runtimes.parity import ParityReport, convert_checked
from tenantry_predictor.runtimes.skops_file import Description, dump
from tenantry_predictor.runtimes.skops_trust import UntrustedType


class PublishError(Exception):
    """The model cannot be published; the message says what to do."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A graph that somebody else made: published as it is, once it is known to load."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Published:
    uri: str
    sha256: str
    format: str
    """`onnx`, or `skops` for an estimator that has no graph that agrees with it."""
    parity: ParityReport | None
    """How the graph compares with the estimator; None where nothing was compared."""
    note: str
    """What was found, as a sentence for whoever published it."""


def publish_model(model: Any, *, tenant: str, to: str, sample: pd.DataFrame | None = None) -> Published:
    """Convert a fitted scikit-learn estimator (or take an OnnxFile) and upload it below the prefix `to`.

    `sample` holds rows that the model answers: the first is kept in the artifact, where predictors find a
    row to probe it with. An estimator that does not convert, or not to a graph that agrees with it, is
    published as a skops file, which predictors serve as it is, slower. Raises PublishError.
    """
    if not is_tenant(tenant):
        raise PublishError(f"{tenant!r} is no tenant: use up to 63 letters, digits and . _ ~ @ -")
    content, kind, parity, note = _encoded(model, sample)
    digest = hashlib.sha256(content).hexdigest()
    prefix = to.rstrip("/")
    uri = f"{prefix}/{tenant}/{digest}.{kind}"
    try:
        check_uri(uri, [f"{prefix}/"], namespace="", tenant="")
    except ArtifactRefused as error:
        raise PublishError(f"{to} is no prefix to publish to: {error}") from error
    try:
        put(uri, content)
    except OSError as error:
        raise PublishError(f"{uri} cannot be written: {error}") from error
    return Published(uri, digest, kind, parity, note)


def manifest_of(published: Published, *, tenant: str, name: str, namespace: str = "") -> dict[str, Any]:
    """The TenantModel that serves it. `tenant` is left out where it is the name."""
    spec: dict[str, Any] = {"artifact": {"uri": published.uri, "sha256": published.sha256}}
    if tenant != name:
        spec = {"tenant": tenant, **spec}
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": API_VERSION, "kind": "TenantModel", "metadata": metadata, "spec": spec}


def resource_name(tenant: str) -> str:
    """The tenant where that is a DNS label; else made from it, with digits that keep two tenants apart."""
    if re.fullmatch(LABEL_PATTERN, tenant):
        return tenant
    plain = re.sub(r"[^a-z0-9]+", "-", tenant.lower()).strip("-")[:54].rstrip("-")
    return "-".join(filter(None, [plain or "tenant", hashlib.sha256(tenant.encode()).hexdigest()[:8]]))


def _encoded(model: Any, sample: pd.DataFrame | None) -> tuple[bytes, str, ParityReport | None, str]:
    if isinstance(model, OnnxFile):
        return _checked_graph(model.content), "onnx", None, "an ONNX graph, published as it is"
    if not hasattr(model, "predict"):
        raise PublishError(f"{type(model).__name__} has no predict: publish a fitted estimator or pipeline")
    try:
        columns = columns_of(model, sample)
        converted = convert_checked(model, columns, sample)
    except UnknownColumns as error:
        raise PublishError(str(error)) from error
    except NotConvertible as error:
        described = Description.of(columns, sample)
        return (
            _dumped(model, described),
            "skops",
            getattr(error, "report", None),
            f"published as skops: {error}",
        )
    return converted.onnx, "onnx", converted.parity, str(converted.parity)


def _checked_graph(content: bytes) -> bytes:
    try:
        onnx_runtime.load_bytes(content).close()
    except LoadError as error:
        raise PublishError(error.message) from error
    return content


def _dumped(model: Any, described: Description) -> bytes:
    try:
        return dump(model, described)
    except UntrustedType as error:
        raise PublishError(
            f"{type(model).__name__} neither converts to ONNX nor may be served as it is: {error}"
        ) from error
