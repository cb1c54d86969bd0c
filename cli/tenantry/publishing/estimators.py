"""Fitted scikit-learn estimators and pipelines: ONNX where a graph agrees, else skops."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from tenantry.publishing.artifact import Artifact, libraries_of, table_inputs
from tenantry.publishing.errors import PublishError
from tenantry_predictor.runtimes.columns import UnknownColumns, columns_of
from tenantry_predictor.runtimes.conversion import NotConvertible
from tenantry_predictor.runtimes.parity import Disagrees, convert_checked
from tenantry_predictor.runtimes.skops_file import Description, dump
from tenantry_predictor.runtimes.skops_trust import UntrustedType


def encode_estimator(model: Any, sample: pd.DataFrame | None) -> Artifact:
    """Raises PublishError."""
    try:
        columns = columns_of(model, sample)
        described = Description.of(columns, sample)
        row = json.loads(described.sample) if described.sample else None
        inputs, libraries = table_inputs(columns), libraries_of(model)
        converted = convert_checked(model, columns, sample)
    except UnknownColumns as error:
        raise PublishError(str(error)) from error
    except NotConvertible as error:
        parity = error.report if isinstance(error, Disagrees) else None
        note = f"published as skops: {error}"
        return Artifact(_dumped(model, described), "skops", ".skops", inputs, row, note, parity, libraries)
    note = str(converted.parity)
    return Artifact(converted.onnx, "onnx", ".onnx", inputs, row, note, converted.parity, libraries)


def _dumped(model: Any, described: Description) -> bytes:
    try:
        return dump(model, described)
    except UntrustedType as error:
        raise PublishError(
            f"{type(model).__name__} neither converts to ONNX nor may be served as it is: {error}; "
            "publish an ONNX graph of your own instead"
        ) from error
