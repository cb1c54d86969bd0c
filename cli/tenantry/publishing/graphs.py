"""ONNX graphs that somebody else made: published as they are, once they are known to load and to answer."""

from __future__ import annotations

import json
import platform
from typing import Any

import onnx
import pandas as pd

from tenantry.publishing.artifact import Artifact
from tenantry.publishing.card import Input
from tenantry.publishing.errors import PublishError
from tenantry_core.problems import Problem
from tenantry_predictor.errors import LoadError
from tenantry_predictor.runtimes import onnx as onnx_runtime
from tenantry_predictor.runtimes.base import LoadedModel
from tenantry_predictor.runtimes.onnx_metadata import COLUMNS_KEY, SAMPLE_KEY
from tenantry_predictor.tables import TableReader


def encode_graph(content: bytes, sample: pd.DataFrame | None) -> Artifact:
    """With a sample, its first row and its columns are added to the file's metadata. Raises PublishError."""
    note = "an ONNX graph, published as it is"
    served = _opened(content)
    if sample is not None and served.sample is None:
        content = _with_sample(content, served, sample)
        note = "an ONNX graph, published with a row of the sample; nothing else is changed"
    served.close()
    served = _opened(content)
    try:
        row = _answered(served)
        inputs = _inputs(served)
    finally:
        served.close()
    return Artifact(content, "onnx", ".onnx", inputs, row, note, libraries=_makers(content))


def _opened(content: bytes) -> LoadedModel:
    try:
        return onnx_runtime.load_bytes(content)
    except LoadError as error:
        raise PublishError(error.message) from error


def _with_sample(content: bytes, served: LoadedModel, sample: pd.DataFrame) -> bytes:
    graph = onnx.ModelProto.FromString(content)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    if not served.columns and _is_table(served, sample):
        metadata[COLUMNS_KEY] = json.dumps([str(name) for name in sample.columns])
    named = COLUMNS_KEY in metadata or len(served.inputs) > 1
    row = sample.head(1).to_json(orient="records" if named else "values", double_precision=15)
    metadata[SAMPLE_KEY] = row
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, metadata)
    return bytes(graph.SerializeToString(deterministic=True))


def _is_table(served: LoadedModel, sample: pd.DataFrame) -> bool:
    """Whether it takes one [N,k] input, as wide as the sample."""
    return len(served.inputs) == 1 and served.inputs[0].shape[1:] in ((sample.shape[1],), (-1,))


def _answered(served: LoadedModel) -> Any:
    """The row stored in the file, which the graph must answer: it is what predictors probe it with."""
    if served.sample is None:
        return None
    try:
        tensors = TableReader(served.inputs, served.columns).read(served.sample)
        served.predict(tensors, [served.outputs[0].name])
    except Problem as error:
        raise PublishError(f"the graph does not answer the sample: {error.error}") from error
    return json.loads(served.sample)


def _inputs(served: LoadedModel) -> tuple[Input, ...]:
    if served.columns and len(served.inputs) == 1:
        kind = "string" if served.inputs[0].datatype == "BYTES" else "number"
        return tuple(Input(name, kind) for name in served.columns)
    return tuple(Input(tensor.name, tensor.datatype, tensor.shape) for tensor in served.inputs)


def _makers(content: bytes) -> dict[str, str]:
    """What wrote the graph, by its own account."""
    graph = onnx.ModelProto.FromString(content)
    made = {graph.producer_name: graph.producer_version} if graph.producer_name else {}
    return {"python": platform.python_version(), "onnx": onnx.__version__, **made}
