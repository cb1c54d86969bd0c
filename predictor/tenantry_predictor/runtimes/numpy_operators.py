"""Readers of ONNX's own operators, where these work on rows; and which reader a node has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from tenantry_core.values import AnyArray
from tenantry_predictor.runtimes import numpy_ml_operators
from tenantry_predictor.runtimes.numpy_functions import (
    Cast,
    concatenate,
    flatten,
    largest,
    relu,
    sigmoid,
    softmax,
    unflatten,
)
from tenantry_predictor.runtimes.numpy_graph import GraphReader, NotKnown, Value, Weight
from tenantry_predictor.runtimes.numpy_nodes import (
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

_TYPES: Mapping[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.DOUBLE: np.dtype(np.float64),
    TensorProto.INT64: INTEGER,
    TensorProto.BOOL: np.dtype(np.bool_),
}


def read_nodes(reader: GraphReader, nodes: Iterable[Node]) -> None:
    """All of them in the file's order, in which none comes before what it needs. Raises NotKnown."""
    for node in nodes:
        read = _OPERATORS[node.domain].get(node.op_type) if node.domain in _OPERATORS else None
        if read is None:
            raise NotKnown
        read(reader, node)


def _unary(function: Callable[[AnyArray], AnyArray]) -> Read:
    def read(reader: GraphReader, node: Node) -> None:
        attributes(node, {})
        rows = floats(reader, inputs(node, 1)[0])
        name(reader, node, reader.step(function, rows, dtype=rows.dtype, width=rows.width))

    return read


def _arithmetic(function: Callable[[AnyArray, AnyArray], AnyArray]) -> Read:
    """Of two values, or of one and a constant, which are alike or have one column."""

    def read(reader: GraphReader, node: Node) -> None:
        attributes(node, {})
        names = inputs(node, 2)
        values = [floats(reader, name) for name in names if not reader.is_constant(name)]
        if not values or values[0].dtype != values[-1].dtype:
            raise NotKnown
        rows = values[0]
        operands = [
            one_for_all(reader, reader.constant(name), rows)
            if reader.is_constant(name)
            else reader.value(name)
            for name in names
        ]
        width = _common_width(rows, operands)
        name(reader, node, reader.step(function, *operands, dtype=rows.dtype, width=width))

    return read


def _common_width(rows: Value, operands: list[Value | Weight]) -> int | None:
    widths = [one.width if isinstance(one, Value) else one.shape[-1] for one in operands]
    if rows.width is None:
        if any(isinstance(one, Value) and one.width is not None for one in operands):
            raise NotKnown
        return None
    known = [width for width in widths if width is not None]
    if len(known) < len(widths) or not set(known) <= {1, max(known)}:
        raise NotKnown
    return max(known)


def _softmax(reader: GraphReader, node: Node) -> None:
    rows = floats(reader, inputs(node, 1)[0])
    if attributes(node, {"axis": -1})["axis"] not in (1, -1) or rows.width is None:
        raise NotKnown
    name(reader, node, reader.step(softmax, rows, dtype=rows.dtype, width=rows.width))


def _arg_max(reader: GraphReader, node: Node) -> None:
    given = attributes(node, {"axis": 0, "keepdims": 1, "select_last_index": 0})
    rows = floats(reader, inputs(node, 1)[0])
    if given["axis"] not in (1, -1) or given["select_last_index"] or rows.width is None:
        raise NotKnown
    places = reader.step(largest, rows, dtype=INTEGER, width=None)
    if given["keepdims"]:
        places = reader.step(unflatten, places, dtype=INTEGER, width=1)
    name(reader, node, places._replace(classes=rows.width))


def _cast(reader: GraphReader, node: Node) -> None:
    """Not of floats to others: NaN as an integer is whatever a processor makes of it."""
    to = attributes(node, {"to": 0, "saturate": 1})["to"]
    value = reader.value(inputs(node, 1)[0], folded=True)
    target = _TYPES.get(to)
    if target is None or value.dtype == TEXT or (value.dtype.kind == "f" and target.kind != "f"):
        raise NotKnown
    cast = reader.step(Cast(target), value, dtype=target, width=value.width)
    name(reader, node, cast._replace(folded=value.folded))


def _identity(reader: GraphReader, node: Node) -> None:
    attributes(node, {})
    name(reader, node, reader.value(inputs(node, 1)[0]))


def _flatten(reader: GraphReader, node: Node) -> None:
    value = reader.value(inputs(node, 1)[0])
    if attributes(node, {"axis": 1})["axis"] != 1 or value.width is None:
        raise NotKnown
    name(reader, node, value)


def _reshape(reader: GraphReader, node: Node) -> None:
    """To [N, width] or [N], which keeps the rows."""
    attributes(node, {"allowzero": 0})
    rows_name, shape_name = inputs(node, 2)
    value = reader.value(rows_name, folded=True)
    sizes = reader.constant(shape_name)
    shape = tuple(sizes.tolist()) if sizes.ndim == 1 and sizes.dtype == INTEGER else ()
    if shape == (-1, value.width) or (shape == (-1,) and value.width is None):
        name(reader, node, value._replace(folded=False))
    elif shape == (-1, 1) and value.width is None:
        name(reader, node, reader.step(unflatten, value, dtype=value.dtype, width=1))
    elif shape == (-1,) and value.width == 1:
        name(reader, node, reader.step(flatten, value, dtype=value.dtype, width=None))
    else:
        raise NotKnown


def _concat(reader: GraphReader, node: Node) -> None:
    parts = [reader.value(name) for name in node.input]
    widths = [part.width for part in parts if part.width is not None]
    if attributes(node, {"axis": 0})["axis"] not in (1, -1) or not parts or len(widths) != len(parts):
        raise NotKnown
    if any(part.dtype != parts[0].dtype for part in parts):
        raise NotKnown
    name(reader, node, reader.step(concatenate, *parts, dtype=parts[0].dtype, width=sum(widths)))


def _matmul(reader: GraphReader, node: Node) -> None:
    attributes(node, {})
    rows, weights = inputs(node, 2)
    name(reader, node, product(reader, floats(reader, rows), reader.constant(weights)))


def _gemm(reader: GraphReader, node: Node) -> None:
    given = attributes(node, {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0})
    if given["alpha"] != 1 or given["beta"] != 1 or given["transA"] or len(node.input) not in (2, 3):
        raise NotKnown
    weights = reader.constant(node.input[1])
    if weights.ndim != 2:
        raise NotKnown
    rows = product(reader, floats(reader, node.input[0]), weights.T if given["transB"] else weights)
    if len(node.input) == 3:
        rows = plus(reader, rows, reader.constant(node.input[2]))
    name(reader, node, rows)


def _gather(reader: GraphReader, node: Node) -> None:
    rows, places = inputs(node, 2)
    constant = reader.constant(places)
    if attributes(node, {"axis": 0})["axis"] not in (1, -1) or constant.ndim != 1:
        raise NotKnown
    name(reader, node, numpy_ml_operators.columns(reader, reader.value(rows), constant))


_OPERATORS: Mapping[str, Mapping[str, Read]] = {
    "": {
        "Add": _arithmetic(np.add),
        "ArgMax": _arg_max,
        "Cast": _cast,
        "Concat": _concat,
        "Div": _arithmetic(np.divide),
        "Exp": _unary(np.exp),
        "Flatten": _flatten,
        "Gather": _gather,
        "Gemm": _gemm,
        "Identity": _identity,
        "MatMul": _matmul,
        "Mul": _arithmetic(np.multiply),
        "Relu": _unary(relu),
        "Reshape": _reshape,
        "Sigmoid": _unary(sigmoid),
        "Softmax": _softmax,
        "Sub": _arithmetic(np.subtract),
        "Tanh": _unary(np.tanh),
    },
    "ai.onnx.ml": numpy_ml_operators.OPERATORS,
}
