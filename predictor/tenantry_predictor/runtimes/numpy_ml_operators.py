"""Readers of the operators of ai.onnx.ml, which compute in single precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tenantry_core.values import AnyArray
from tenantry_predictor.runtimes.numpy_functions import (
    Labels,
    OneHot,
    Part,
    Pick,
    impute,
    largest,
    normalized,
    sigmoid,
    softmax,
)
from tenantry_predictor.runtimes.numpy_graph import GraphReader, NotKnown, Value
from tenantry_predictor.runtimes.numpy_nodes import (
    FLOAT,
    INTEGER,
    TEXT,
    Node,
    Read,
    attributes,
    floats,
    inputs,
    name,
    one_for_all,
    plus,
    product,
)

_MOST_CATEGORIES = 1_000
_TRANSFORMS: Mapping[bytes, Callable[[AnyArray], AnyArray] | None] = {
    b"NONE": None,
    b"LOGISTIC": sigmoid,
    b"SOFTMAX": softmax,
}


def _scaler(reader: GraphReader, node: Node) -> None:
    given = attributes(node, {"offset": float, "scale": float})
    rows = _rows(reader, node)
    if len(given["offset"]) != len(given["scale"]) or len(given["scale"]) not in (1, rows.width):
        raise NotKnown
    for function, array in ((np.subtract, given["offset"]), (np.multiply, given["scale"])):
        weight = one_for_all(reader, np.array(array, FLOAT), rows)
        rows = reader.step(function, rows, weight, dtype=FLOAT, width=rows.width)
    name(reader, node, rows)


def _imputer(reader: GraphReader, node: Node) -> None:
    given = attributes(node, {"imputed_value_floats": float, "replaced_value_float": 0.0})
    rows = _rows(reader, node)
    values = np.array(given["imputed_value_floats"], FLOAT)
    if not np.isnan(given["replaced_value_float"]) or values.size not in (1, rows.width):
        raise NotKnown
    weight = one_for_all(reader, values, rows)
    name(reader, node, reader.step(impute, rows, weight, dtype=FLOAT, width=rows.width))


def _linear_regressor(reader: GraphReader, node: Node) -> None:
    known = {"coefficients": float, "intercepts": float, "targets": 1, "post_transform": b"NONE"}
    given = attributes(node, known)
    if given["post_transform"] != b"NONE":
        raise NotKnown
    name(reader, node, _affine(reader, _rows(reader, node), given, given["targets"]))


def _linear_classifier(reader: GraphReader, node: Node) -> None:
    """Labels by the largest score, and the scores transformed. With one score for two classes: NotKnown."""
    known = {"coefficients": float, "intercepts": float, "multi_class": 0, "post_transform": b"NONE"}
    given = attributes(node, {**known, "classlabels_ints": int, "classlabels_strings": bytes})
    labels = given["classlabels_ints"] or given["classlabels_strings"]
    if (
        not 2 <= len(labels) <= _MOST_CATEGORIES
        or len(node.output) != 2
        or given["post_transform"] not in _TRANSFORMS
    ):
        raise NotKnown
    scores = _affine(reader, _rows(reader, node), given, len(labels))
    places = reader.step(largest, scores, dtype=INTEGER, width=None)
    names, dtype = _constants(labels)
    reader.name(node.output[0], reader.step(Labels(names, dtype), places, dtype=dtype, width=None))
    transform = _TRANSFORMS[given["post_transform"]]
    if transform is not None:
        scores = reader.step(transform, scores, dtype=FLOAT, width=scores.width)
    reader.name(node.output[1], scores)


def _normalizer(reader: GraphReader, node: Node) -> None:
    if attributes(node, {"norm": b"MAX"})["norm"] != b"L1":
        raise NotKnown
    rows = _rows(reader, node)
    name(reader, node, reader.step(normalized, rows, dtype=FLOAT, width=rows.width))


def _one_hot_encoder(reader: GraphReader, node: Node) -> None:
    given = attributes(node, {"cats_strings": bytes, "cats_int64s": int, "zeros": 1})
    categories, dtype = _constants(given["cats_strings"] or given["cats_int64s"])
    rows = reader.value(inputs(node, 1)[0])
    if rows.width != 1 or rows.dtype != dtype or given["zeros"] != 1:
        raise NotKnown
    if not 0 < len(categories) <= _MOST_CATEGORIES or len(set(categories)) < len(categories):
        raise NotKnown
    encoded = reader.step(OneHot(categories, dtype), rows, dtype=FLOAT, width=len(categories))
    name(reader, node, encoded._replace(folded=True))


def _pick(reader: GraphReader, node: Node) -> None:
    """ArrayFeatureExtractor: some columns of rows, or labels by their computed places in a list."""
    attributes(node, {})
    data, places = inputs(node, 2)
    if reader.is_constant(data):
        _label(reader, node, reader.constant(data), reader.value(places))
    else:
        name(reader, node, columns(reader, reader.value(data), reader.constant(places)))


def _label(reader: GraphReader, node: Node, labels: AnyArray, places: Value) -> None:
    if labels.ndim != 1 or not 0 < places.classes <= min(len(labels), _MOST_CATEGORIES):
        raise NotKnown
    labels = labels[: places.classes]
    names, dtype = (
        _constants(labels.tolist()) if labels.dtype.kind in "OU" else (labels.tolist(), labels.dtype)
    )
    label = Labels(tuple(names), dtype)
    name(reader, node, reader.step(label, places, dtype=dtype, width=None)._replace(folded=True))


def columns(reader: GraphReader, rows: Value, places: AnyArray) -> Value:
    """Some of them. Raises NotKnown."""
    if rows.width is None or places.ndim > 1 or places.dtype != INTEGER or not places.size:
        raise NotKnown
    if places.min() < 0 or places.max() >= rows.width:
        raise NotKnown
    chosen = tuple(places.reshape(-1).tolist())
    end = chosen[0] + len(chosen)
    part = Part(chosen[0], end) if chosen == tuple(range(chosen[0], end)) else Pick(chosen)
    return reader.step(part, rows, dtype=rows.dtype, width=len(chosen))


def _affine(reader: GraphReader, rows: Value, given: Mapping[str, Any], count: int) -> Value:
    weights = np.array(given["coefficients"], FLOAT)
    if rows.width is None or count < 1 or weights.size != count * rows.width:
        raise NotKnown
    rows = product(reader, rows, weights.reshape(count, rows.width).T)
    if not len(given["intercepts"]):
        return rows
    if len(given["intercepts"]) != count:
        raise NotKnown
    return plus(reader, rows, np.array(given["intercepts"], FLOAT))


def _rows(reader: GraphReader, node: Node) -> Value:
    rows = floats(reader, inputs(node, 1)[0])
    if rows.dtype != FLOAT or rows.width is None:
        raise NotKnown
    return rows


def _constants(values: Sequence[Any]) -> tuple[tuple[Any, ...], np.dtype[Any]]:
    """Labels or categories, all whole numbers or all text."""
    try:
        texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError as error:
        raise NotKnown from error
    kinds = set(map(type, texts))
    if kinds not in ({int}, {str}):
        raise NotKnown
    return tuple(texts), INTEGER if kinds == {int} else TEXT


OPERATORS: Mapping[str, Read] = {
    "ArrayFeatureExtractor": _pick,
    "Imputer": _imputer,
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "OneHotEncoder": _one_hot_encoder,
    "Scaler": _scaler,
}
