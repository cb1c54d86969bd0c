"""What each ONNX operator is in numpy, where it works on rows.

Results differ from ONNX Runtime's by rounding alone: products are summed up in another order, and its
exponential functions are approximations of a few units in the last place. NaN and infinity go the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from tenantry_core.values import AnyArray
from tenantry_predictor.runtimes.numpy_graph import GraphReader, NotKnown, Value, Weight, attributes

_FLOAT, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_INTEGER, _TEXT = np.dtype(np.int64), np.dtype(np.object_)
_TYPES = {
    TensorProto.FLOAT: _FLOAT,
    TensorProto.DOUBLE: _DOUBLE,
    TensorProto.INT64: _INTEGER,
    TensorProto.BOOL: np.dtype(np.bool_),
}

Node = onnx.NodeProto
Read = Callable[[GraphReader, Node], None]


# What steps compute. They are compared by value, so that models of one kind share them.


def relu(rows: AnyArray) -> AnyArray:
    result: AnyArray = np.maximum(rows, 0)
    return result


def sigmoid(rows: AnyArray) -> AnyArray:
    result: AnyArray = 1 / (1 + np.exp(-rows))
    return result


def softmax(rows: AnyArray) -> AnyArray:
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    result: AnyArray = powers / powers.sum(axis=1, keepdims=True)
    return result


def normalized(rows: AnyArray) -> AnyArray:
    """L1; a row of zeros stays as it is."""
    norms = np.abs(rows).sum(axis=1, keepdims=True)
    result: AnyArray = rows / np.where(norms == 0, 1, norms)
    return result


def impute(rows: AnyArray, values: AnyArray) -> AnyArray:
    return np.where(np.isnan(rows), values, rows)


def concatenate(*parts: AnyArray) -> AnyArray:
    return np.concatenate(parts, axis=1)


def flatten(rows: AnyArray) -> AnyArray:
    return rows.reshape(-1)


def unflatten(rows: AnyArray) -> AnyArray:
    return rows.reshape(-1, 1)


def largest(rows: AnyArray) -> AnyArray:
    """The place of each row's largest value. NaN is smaller than all, but in the first place it wins."""
    if rows.shape[1] == 2:
        return (rows[:, 1] > rows[:, 0]).astype(np.intp)
    missing = np.isnan(rows)
    if missing.any():
        rows = np.where(missing, -np.inf, rows)
        rows[missing[:, 0], 0] = np.inf
    return rows.argmax(axis=1)


@dataclass(frozen=True)
class Cast:
    dtype: np.dtype[Any]

    def __call__(self, rows: AnyArray) -> AnyArray:
        return rows.astype(self.dtype)


@dataclass(frozen=True)
class Pick:
    """Some of the columns."""

    columns: tuple[int, ...]

    def __call__(self, rows: AnyArray) -> AnyArray:
        return rows.take(self.columns, axis=1)


@dataclass(frozen=True)
class Part:
    """Columns that lie one behind the other."""

    start: int
    end: int

    def __call__(self, rows: AnyArray) -> AnyArray:
        return rows[:, self.start : self.end]


@dataclass(frozen=True)
class Label:
    """Names of the classes by number."""

    labels: tuple[str | int, ...]
    _array: AnyArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        array = np.array(self.labels, _TEXT if isinstance(self.labels[0], str) else _INTEGER)
        object.__setattr__(self, "_array", array)

    def __call__(self, places: AnyArray) -> AnyArray:
        return self._array.take(places)


# How nodes are read.


def read_nodes(reader: GraphReader, nodes: Sequence[Node]) -> None:
    """All of them in the file's order, in which none comes before what it needs. Raises NotKnown."""
    for node in nodes:
        read = _OPERATORS.get((node.domain, node.op_type))
        if read is None:
            raise NotKnown
        read(reader, node)


def _unary(function: Callable[[AnyArray], AnyArray], **allowed: Any) -> Read:
    def read(reader: GraphReader, node: Node) -> None:
        attributes(node, allowed)
        rows = _floats(reader, _inputs(node, 1)[0])
        _name(reader, node, reader.step(function, rows, dtype=rows.dtype, width=rows.width))

    return read


def _arithmetic(function: Callable[[AnyArray, AnyArray], AnyArray]) -> Read:
    def read(reader: GraphReader, node: Node) -> None:
        attributes(node, {})
        names = _inputs(node, 2)
        values = [reader.value(name) for name in names if not reader.is_constant(name)]
        if not values:
            raise NotKnown
        rows = values[0]
        operands = [
            _broadcast(reader, name, rows) if reader.is_constant(name) else reader.value(name)
            for name in names
        ]
        widths = [_width(operand) for operand in operands]
        if rows.dtype not in (_FLOAT, _DOUBLE) or any(value.dtype != rows.dtype for value in values):
            raise NotKnown
        if len(values) == 2 and (None in widths) and widths[0] != widths[1]:
            raise NotKnown
        width = None if rows.width is None else max(size for size in widths if size is not None)
        if any(size not in (None, 1, width) for size in widths):
            raise NotKnown
        _name(reader, node, reader.step(function, *operands, dtype=rows.dtype, width=width))

    return read


def _broadcast(reader: GraphReader, name: str, rows: Value) -> Weight:
    """A constant for every row: a scalar, or one value a column."""
    array = reader.constant(name)
    if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != 1) or not array.size:
        raise NotKnown
    if rows.width is None and (array.size != 1 or array.ndim > 1):
        raise NotKnown
    return _a_row(reader, array, rows)


def _a_row(reader: GraphReader, array: AnyArray, rows: Value) -> Weight:
    """Of as many dimensions as the rows: for one row numpy need not broadcast, most of what it does."""
    return reader.weight(array.reshape(-1) if rows.width is None else array.reshape(1, -1), rows.dtype)


def _width(operand: Value | Weight) -> int | None:
    return operand.width if isinstance(operand, Value) else operand.shape[-1]


def _cast(reader: GraphReader, node: Node) -> None:
    to = attributes(node, {"to": 0, "saturate": 1})["to"]
    rows = reader.value(_inputs(node, 1)[0])
    if to not in _TYPES or rows.dtype == _TEXT:
        raise NotKnown
    _rounds_alike(rows.dtype, _TYPES[to])
    _name(reader, node, reader.step(Cast(_TYPES[to]), rows, dtype=_TYPES[to], width=rows.width))


def _rounds_alike(source: np.dtype[Any], target: np.dtype[Any]) -> None:
    """NaN as an integer is whatever a processor makes of it. Raises NotKnown."""
    if source.kind == "f" and target.kind != "f":
        raise NotKnown


def _identity(reader: GraphReader, node: Node) -> None:
    attributes(node, {})
    rows = reader.value(_inputs(node, 1)[0])
    _name(reader, node, rows)


def _flatten(reader: GraphReader, node: Node) -> None:
    rows = reader.value(_inputs(node, 1)[0])
    if attributes(node, {"axis": 1})["axis"] != 1 or rows.width is None:
        raise NotKnown
    _name(reader, node, rows)


def _reshape(reader: GraphReader, node: Node) -> None:
    """To [N, width] or [N], which keeps the rows."""
    attributes(node, {"allowzero": 0})
    name, shape_name = _inputs(node, 2)
    rows, shape = reader.value(name), tuple(reader.constant(shape_name).reshape(-1).tolist())
    if shape == (-1, rows.width):
        _name(reader, node, rows)
    elif shape == (-1, 1) and rows.width is None:
        _name(reader, node, reader.step(unflatten, rows, dtype=rows.dtype, width=1))
    elif shape == (-1,) and rows.width in (None, 1):
        _name(reader, node, reader.step(flatten, rows, dtype=rows.dtype, width=None))
    else:
        raise NotKnown


def _concat(reader: GraphReader, node: Node) -> None:
    parts = [reader.value(name) for name in node.input]
    widths = [part.width for part in parts if part.width is not None]
    if attributes(node, {"axis": 0})["axis"] not in (1, -1) or not parts or len(widths) != len(parts):
        raise NotKnown
    if any(part.dtype != parts[0].dtype for part in parts):
        raise NotKnown
    _name(reader, node, reader.step(concatenate, *parts, dtype=parts[0].dtype, width=sum(widths)))


def _matmul(reader: GraphReader, node: Node) -> None:
    attributes(node, {})
    name, weights_name = _inputs(node, 2)
    _name(reader, node, _product(reader, _floats(reader, name), reader.constant(weights_name)))


def _gemm(reader: GraphReader, node: Node) -> None:
    given = attributes(node, {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0})
    if given["alpha"] != 1 or given["beta"] != 1 or given["transA"] or len(node.input) not in (2, 3):
        raise NotKnown
    weights = reader.constant(node.input[1])
    if weights.ndim != 2:
        raise NotKnown
    rows = _product(reader, _floats(reader, node.input[0]), weights.T if given["transB"] else weights)
    if len(node.input) == 3 and node.input[2]:
        rows = _plus(reader, rows, reader.constant(node.input[2]))
    _name(reader, node, rows)


def _product(reader: GraphReader, rows: Value, weights: AnyArray) -> Value:
    if weights.ndim not in (1, 2) or weights.shape[0] != rows.width or not weights.size:
        raise NotKnown
    width = weights.shape[1] if weights.ndim == 2 else None
    # As `np.matmul`, in a third of the time for a row.
    return reader.step(
        np.ndarray.dot, rows, reader.weight(weights, rows.dtype), dtype=rows.dtype, width=width
    )


def _plus(reader: GraphReader, rows: Value, bias: AnyArray) -> Value:
    if bias.ndim > 2 or bias.size not in (1, rows.width) or (bias.ndim == 2 and bias.shape[0] != 1):
        raise NotKnown
    return reader.step(np.add, rows, _a_row(reader, bias, rows), dtype=rows.dtype, width=rows.width)


def _pick(reader: GraphReader, node: Node) -> None:
    """Gather's and ArrayFeatureExtractor's columns, or the labels of numbered classes."""
    axis = attributes(node, {"axis": 0} if node.op_type == "Gather" else {}).get("axis", 1)
    name, places_name = _inputs(node, 2)
    rows, places = reader.value(name), reader.constant(places_name)
    if rows.width is None or axis not in (1, -1) or places.ndim > 1 or places.dtype != _INTEGER:
        raise NotKnown
    if (places.ndim == 0 and node.op_type == "Gather") or not places.size:
        raise NotKnown
    if places.min() < 0 or places.max() >= rows.width:
        raise NotKnown
    columns = tuple(places.reshape(-1).tolist())
    adjacent = columns == tuple(range(columns[0], columns[0] + len(columns)))
    pick = Part(columns[0], columns[0] + len(columns)) if adjacent else Pick(columns)
    _name(reader, node, reader.step(pick, rows, dtype=rows.dtype, width=len(columns)))


# The domain ai.onnx.ml, in single precision


def _scaler(reader: GraphReader, node: Node) -> None:
    given = attributes(node, {"offset": [], "scale": []})
    rows = _singles(reader, _inputs(node, 1)[0])
    for function, name in ((np.subtract, "offset"), (np.multiply, "scale")):
        array = np.array(given[name], _FLOAT)
        if array.size not in (1, rows.width):
            raise NotKnown
        rows = reader.step(function, rows, _a_row(reader, array, rows), dtype=_FLOAT, width=rows.width)
    _name(reader, node, rows)


def _imputer(reader: GraphReader, node: Node) -> None:
    given = attributes(node, {"imputed_value_floats": [], "replaced_value_float": 0.0})
    rows = _singles(reader, _inputs(node, 1)[0])
    values = np.array(given["imputed_value_floats"], _FLOAT)
    if not np.isnan(given["replaced_value_float"]) or values.size not in (1, rows.width):
        raise NotKnown
    _name(
        reader, node, reader.step(impute, rows, reader.weight(values, _FLOAT), dtype=_FLOAT, width=rows.width)
    )


def _linear_regressor(reader: GraphReader, node: Node) -> None:
    given = attributes(node, {"coefficients": [], "intercepts": [], "targets": 1, "post_transform": b"NONE"})
    if given["post_transform"] != b"NONE":
        raise NotKnown
    rows = _singles(reader, _inputs(node, 1)[0])
    _name(reader, node, _affine(reader, rows, given["coefficients"], given["intercepts"], given["targets"]))


def _affine(
    reader: GraphReader, rows: Value, coefficients: Sequence[float], intercepts: Sequence[float], count: int
) -> Value:
    weights = np.array(coefficients, _FLOAT)
    if rows.width is None or count < 1 or weights.size != count * rows.width:
        raise NotKnown
    rows = _product(reader, rows, weights.reshape(count, rows.width).T)
    if not len(intercepts):
        return rows
    if len(intercepts) != count:
        raise NotKnown
    return _plus(reader, rows, np.array(intercepts, _FLOAT))


_POST_TRANSFORMS: dict[bytes, Callable[[AnyArray], AnyArray] | None] = {
    b"NONE": None,
    b"LOGISTIC": sigmoid,
    b"SOFTMAX": softmax,
}


def _linear_classifier(reader: GraphReader, node: Node) -> None:
    """Labels by the largest score, and the scores transformed. With one score for two classes: NotKnown."""
    known = {"coefficients": [], "intercepts": [], "multi_class": 0, "post_transform": b"NONE"}
    given = attributes(node, {**known, "classlabels_ints": [], "classlabels_strings": []})
    labels = given["classlabels_ints"] or given["classlabels_strings"]
    if len(labels) < 2 or len(node.output) != 2 or given["post_transform"] not in _POST_TRANSFORMS:
        raise NotKnown
    rows = _singles(reader, _inputs(node, 1)[0])
    scores = _affine(reader, rows, given["coefficients"], given["intercepts"], len(labels))
    places = reader.step(largest, scores, dtype=_INTEGER, width=None)
    label = _label(labels)
    dtype = label(np.zeros(1, np.int64)).dtype
    reader.name(node.output[0], reader.step(label, places, dtype=dtype, width=None))
    transform = _POST_TRANSFORMS[given["post_transform"]]
    if transform is not None:
        scores = reader.step(transform, scores, dtype=_FLOAT, width=scores.width)
    reader.name(node.output[1], scores)


def _label(labels: Sequence[int | bytes]) -> Label:
    try:
        return Label(tuple(label.decode() if isinstance(label, bytes) else label for label in labels))
    except UnicodeDecodeError as error:
        raise NotKnown from error


def _normalizer(reader: GraphReader, node: Node) -> None:
    if attributes(node, {"norm": b"MAX"})["norm"] != b"L1":
        raise NotKnown
    rows = _singles(reader, _inputs(node, 1)[0])
    _name(reader, node, reader.step(normalized, rows, dtype=_FLOAT, width=rows.width))


# Shared


def _inputs(node: Node, count: int) -> list[str]:
    if len(node.input) != count:
        raise NotKnown
    return list(node.input)


def _name(reader: GraphReader, node: Node, value: Value) -> None:
    if len(node.output) != 1:
        raise NotKnown
    reader.name(node.output[0], value)


def _floats(reader: GraphReader, name: str) -> Value:
    value = reader.value(name)
    if value.dtype not in (_FLOAT, _DOUBLE):
        raise NotKnown
    return value


def _singles(reader: GraphReader, name: str) -> Value:
    value = _floats(reader, name)
    if value.dtype != _FLOAT or value.width is None:
        raise NotKnown
    return value


_OPERATORS: dict[tuple[str, str], Read] = {
    ("", "Add"): _arithmetic(np.add),
    ("", "Sub"): _arithmetic(np.subtract),
    ("", "Mul"): _arithmetic(np.multiply),
    ("", "Div"): _arithmetic(np.divide),
    ("", "Relu"): _unary(relu),
    ("", "Exp"): _unary(np.exp),
    ("", "Tanh"): _unary(np.tanh),
    ("", "Sigmoid"): _unary(sigmoid),
    ("", "Cast"): _cast,
    ("", "Identity"): _identity,
    ("", "Flatten"): _flatten,
    ("", "Reshape"): _reshape,
    ("", "Concat"): _concat,
    ("", "MatMul"): _matmul,
    ("", "Gemm"): _gemm,
    ("", "Gather"): _pick,
    ("ai.onnx.ml", "ArrayFeatureExtractor"): _pick,
    ("ai.onnx.ml", "Scaler"): _scaler,
    ("ai.onnx.ml", "Imputer"): _imputer,
    ("ai.onnx.ml", "LinearRegressor"): _linear_regressor,
    ("ai.onnx.ml", "LinearClassifier"): _linear_classifier,
    ("ai.onnx.ml", "Normalizer"): _normalizer,
}
