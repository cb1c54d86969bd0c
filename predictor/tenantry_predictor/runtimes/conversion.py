"""Fitted scikit-learn estimators to ONNX graphs, by skl2onnx, in the one form that Tenantry publishes.

One `[N, k]` input named `input` when all columns are numbers, else one `[N, 1]` input a column, named like
it. The first output is what `predict` returns (`label` of a classifier, else `variable`); a classifier
that knows probabilities has them as its second, `probabilities`.
"""

from __future__ import annotations

import copy
import json
import warnings
from typing import Any, Literal

import numpy as np
import onnx
import pandas as pd
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from skl2onnx.proto import get_latest_tested_opset_version
from skl2onnx.sklapi import CastTransformer
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

from tenantry_predictor.runtimes.columns import InputColumns, transformer_positions
from tenantry_predictor.runtimes.onnx_metadata import COLUMNS_KEY, SAMPLE_KEY
from tenantry_predictor.runtimes.trees import holds_trees, missing_goes_left

Precision = Literal["float", "double"]

CONVERTER_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, NameError)
"""What converters raise for what they cannot convert; skl2onnx's own exceptions are RuntimeErrors."""
_OPSETS = {"": get_latest_tested_opset_version(), "ai.onnx.ml": 3}
"""Of the second domain the converters know version 3 only; they complain when they are given a later one."""


class NotConvertible(Exception):
    """The estimator has no ONNX graph that answers as it does; the message says why."""


def convert(
    model: Any, columns: InputColumns, *, sample: pd.DataFrame | None = None, precision: Precision = "float"
) -> bytes:
    """The graph, serialised; the same estimator gives the same bytes.

    `double` computes in float64 but for trees, which scikit-learn itself feeds with float32.
    The metadata hold the columns' names and one row of the sample. Raises NotConvertible.
    """
    if not hasattr(model, "predict"):
        raise NotConvertible(f"{type(model).__name__} has no predict")
    prepared = _by_position(model)
    if precision == "double":
        prepared = _cast_before_trees(prepared)
    graph = _convert(prepared, _initial_types(columns, precision))
    _follow_missing_values(graph, model)
    return finished(graph, model, columns, sample)


def finished(graph: onnx.ModelProto, model: Any, columns: InputColumns, sample: pd.DataFrame | None) -> bytes:
    """A converter's graph, whose inputs are `given_0` and so on, in the form that Tenantry publishes."""
    _keep_booleans(graph, model)
    _name_values(graph, model, columns)
    _describe(graph, columns, sample)
    # The converter lists them in the order of a set, which differs from process to process.
    graph.opset_import.sort(key=lambda opset: opset.domain)
    return bytes(graph.SerializeToString(deterministic=True))


def _convert(model: Any, inputs: list[tuple[str, Any]]) -> onnx.ModelProto:
    final = _final(model)
    # A classifier without probabilities has no zipmap to turn off.
    options = {"zipmap": False} if is_classifier(final) and not isinstance(final, LinearSVC) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph: onnx.ModelProto = convert_sklearn(
                model, name="tenantry", initial_types=inputs, options=options, target_opset=_OPSETS
            )
            return graph
    except CONVERTER_ERRORS as error:
        raise NotConvertible(f"{type(final).__name__} does not convert: {shortened(error)}") from error


def _initial_types(columns: InputColumns, precision: Precision) -> list[tuple[str, Any]]:
    number = FloatTensorType if precision == "float" else DoubleTensorType
    if columns.numeric:
        return [("given_0", number([None, len(columns.labels)]))]
    types = {"number": number, "string": StringTensorType}
    return [(f"given_{p}", types[kind]([None, 1])) for p, kind in enumerate(columns.kinds)]


def _by_position(step: Any) -> Any:
    """A shallow copy whose ColumnTransformers name columns by position: skl2onnx mangles their names."""
    if isinstance(step, Pipeline):
        step = copy.copy(step)
        step.steps = [(name, _by_position(part)) for name, part in step.steps]
    elif isinstance(step, ColumnTransformer):
        original, step = step, copy.copy(step)
        step.transformers_ = [
            (name, _by_position(part), transformer_positions(original, columns))
            for name, part, columns in original.transformers_
        ]
    return step


def _cast_before_trees(model: Any) -> Any:
    if isinstance(model, Pipeline) and holds_trees(_final(model)):
        model = copy.copy(model)
        *head, last = model.steps
        model.steps = [*head, ("single precision", CastTransformer(dtype=np.float32)), last]
    return model


def shortened(error: Exception) -> str:
    """A library's message as one line that fits into a sentence."""
    text = " ".join(str(error).split())
    return text if len(text) <= 120 else f"{text[:120]}..."


def _final(model: Any) -> Any:
    return _final(model.steps[-1][1]) if isinstance(model, Pipeline) else model


def _follow_missing_values(graph: onnx.ModelProto, model: Any) -> None:
    """Send NaN down the branch that scikit-learn's trees learned; the converter always goes right."""
    lefts = missing_goes_left(_final(model))
    ensembles = [node for node in graph.graph.node if node.op_type.startswith("TreeEnsemble")]
    if lefts is None or len(ensembles) != 1:
        return
    for attribute in ensembles[0].attribute:
        if attribute.name == "nodes_missing_value_tracks_true" and len(attribute.ints) == len(lefts):
            attribute.ints[:] = [int(left) for left in lefts]


def _keep_booleans(graph: onnx.ModelProto, model: Any) -> None:
    """Labels that are True and False stay so; the converter makes them 1 and 0."""
    if np.asarray(getattr(model, "classes_", ())).dtype.kind == "b":
        label = graph.graph.output[0]
        cast = onnx.helper.make_node("Cast", [label.name], ["booleans"], to=onnx.TensorProto.BOOL)
        graph.graph.node.append(cast)
        label.CopyFrom(onnx.helper.make_tensor_value_info("booleans", onnx.TensorProto.BOOL, [None]))


def _name_values(graph: onnx.ModelProto, model: Any, columns: InputColumns) -> None:
    """Keep the outputs that are promised, and give inputs and outputs their public names."""
    inputs = ["input"] if columns.numeric else list(columns.labels)
    outputs = ["label" if hasattr(model, "classes_") else "variable"]
    if hasattr(model, "classes_") and hasattr(model, "predict_proba"):
        outputs.append("probabilities")
    del graph.graph.output[len(outputs) :]
    renamed = {f"given_{position}": name for position, name in enumerate(inputs)}
    for value, name in zip(graph.graph.output, outputs, strict=True):
        while name in inputs:
            name += "_"
        renamed[value.name] = name
    prefix = "v"
    while any(name.startswith(prefix) for name in renamed.values()):
        prefix += "_"
    _rename(graph.graph, renamed, prefix)


def _rename(graph: onnx.GraphProto, names: dict[str, str], prefix: str) -> None:
    """Number the inner values: the converter names some by a counter of the process, others by `id()`."""

    def new(name: str) -> str:
        return names.setdefault(name, f"{prefix}{len(names)}") if name else ""

    del graph.value_info[:]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = new(value.name)
    for node in graph.node:
        node.name = ""
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names, prefix)


def _describe(graph: onnx.ModelProto, columns: InputColumns, sample: pd.DataFrame | None) -> None:
    described = {}
    if columns.named or not columns.numeric or sample is not None:
        described[COLUMNS_KEY] = json.dumps(list(columns.labels))
    if sample is not None and len(sample):
        described[SAMPLE_KEY] = sample_body(columns, sample)
    onnx.helper.set_model_props(graph, described)


def sample_body(columns: InputColumns, sample: pd.DataFrame) -> str:
    """The first row as a `/predict` body: a list of one record; NaN, which JSON lacks, is null."""
    row = columns.coerce(sample.head(1)).iloc[0]
    return json.dumps([{label: None if pd.isna(row[label]) else row[label] for label in columns.labels}])
