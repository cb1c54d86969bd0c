"""Which kind of model it is, told without importing a library that the caller has not imported."""

from __future__ import annotations

from typing import Any

import onnx
import pandas as pd

from tenantry.publishing.artifact import Artifact
from tenantry.publishing.boosters import encode_booster, library_of
from tenantry.publishing.errors import PublishError
from tenantry.publishing.estimators import encode_estimator
from tenantry.publishing.files import Source
from tenantry.publishing.graphs import encode_graph


def encode(source: Source, sample: pd.DataFrame | None) -> Artifact:
    """A sample of the caller's own comes before the one saved with the model. Raises PublishError."""
    model, rows = source.model, sample if sample is not None else source.sample
    if isinstance(model, onnx.ModelProto):
        return encode_graph(model.SerializeToString(deterministic=True), rows)
    if isinstance(model, bytes):
        return encode_graph(model, rows)
    library = library_of(model)
    if library is not None:
        return encode_booster(library, model, rows)
    if not hasattr(model, "predict"):
        raise PublishError(_unknown(model))
    return encode_estimator(model, rows)


def _unknown(model: Any) -> str:
    return f"{type(model).__name__} has no predict: publish a fitted estimator, a pipeline, or an ONNX graph"
