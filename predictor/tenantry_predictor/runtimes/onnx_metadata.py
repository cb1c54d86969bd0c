"""What a published ONNX file says of itself beside the graph."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import onnx

from tenantry_core.wire import Tensor
from tenantry_predictor.runtimes.base import LoadError

COLUMNS_KEY = "tenantry.columns"
"""Metadata of the file: a JSON list of the column names."""
SAMPLE_KEY = "tenantry.sample"
"""Metadata of the file: a `/predict` body of one row, JSON."""


def of(model: onnx.ModelProto) -> dict[str, str]:
    """Raises LoadError."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
        raise not_utf8()
    return metadata


def not_utf8() -> LoadError:
    return LoadError("LoadFailed", "A name or the metadata of the file is not UTF-8.")


def columns(metadata: Mapping[str, str], inputs: Sequence[Tensor]) -> tuple[str, ...]:
    """The names stored in the file, checked against the inputs that they name. Raises LoadError."""
    text = metadata.get(COLUMNS_KEY)
    if text is None:
        return ()
    try:
        names = json.loads(text)
    except ValueError as error:
        raise LoadError("LoadFailed", f"The metadata {COLUMNS_KEY} is no JSON.") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LoadError("LoadFailed", f"The metadata {COLUMNS_KEY} is no list of names.")
    if len(set(names)) != len(names):
        raise LoadError("LoadFailed", f"The metadata {COLUMNS_KEY} names a column twice.")
    expected = len(inputs) if len(inputs) > 1 else inputs[0].shape[-1] if inputs[0].shape else 1
    if expected not in (-1, len(names)):
        raise LoadError("LoadFailed", f"The metadata {COLUMNS_KEY} names {len(names)} columns of {expected}.")
    return tuple(names)


def sample(metadata: Mapping[str, str]) -> bytes | None:
    """The row stored in the file; None where there is none."""
    text = metadata.get(SAMPLE_KEY)
    return text.encode() if text else None
