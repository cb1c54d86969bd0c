"""What the readers of all operators share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from tenantry_core.values import AnyArray
from tenantry_predictor.runtimes.numpy_graph import GraphReader, NotKnown, Value, Weight

FLOAT, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
INTEGER, TEXT = np.dtype(np.int64), np.dtype(np.object_)

Node = onnx.NodeProto
Read = Callable[[GraphReader, Node], None]
"""Adds a node's steps, and names its outputs. Raises NotKnown."""


def attributes(node: Node, known: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a node. `known` are their defaults; a type stands for a list of such values, empty by default.

    Raises NotKnown for others, and for values of other types.
    """
    found = {name: [] if isinstance(default, type) else default for name, default in known.items()}
    for attribute in node.attribute:
        # Name, type and value: one that has values of two types is none.
        if attribute.name not in known or len(attribute.ListFields()) > 3:
            raise NotKnown
        value, default = _value(attribute), known[attribute.name]
        if isinstance(default, type):
            if not isinstance(value, list) or any(type(one) is not default for one in value):
                raise NotKnown
        elif type(value) is not type(default):
            raise NotKnown
        found[attribute.name] = value
    return found


def _value(attribute: onnx.AttributeProto) -> Any:
    try:
        return onnx.helper.get_attribute_value(attribute)
    except ValueError as error:
        raise NotKnown from error


def inputs(node: Node, count: int) -> list[str]:
    """Their names. Raises NotKnown where there are more or less."""
    if len(node.input) != count:
        raise NotKnown
    return list(node.input)


def name(reader: GraphReader, node: Node, value: Value) -> None:
    """The only output. Raises NotKnown where there are more."""
    if len(node.output) != 1:
        raise NotKnown
    reader.name(node.output[0], value)


def floats(reader: GraphReader, name: str) -> Value:
    """Of single or double precision. Raises NotKnown for others."""
    value = reader.value(name)
    if value.dtype not in (FLOAT, DOUBLE):
        raise NotKnown
    return value


def one_for_all(reader: GraphReader, array: AnyArray, rows: Value) -> Weight:
    """Weights that are the same for every row: one a column, or one in all. Raises NotKnown.

    They have as many dimensions as the rows: for one row numpy need not broadcast, most of what it does.
    """
    if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != 1) or not array.size:
        raise NotKnown
    if rows.width is None:
        if array.size != 1 or array.ndim > 1:
            raise NotKnown
        return reader.weight(array.reshape(-1), rows.dtype)
    if array.size not in (1, rows.width) and rows.width != 1:
        raise NotKnown
    return reader.weight(array.reshape(1, -1), rows.dtype)


def product(reader: GraphReader, rows: Value, weights: AnyArray) -> Value:
    """Raises NotKnown where they do not fit."""
    if weights.ndim not in (1, 2) or weights.shape[0] != rows.width or not weights.size:
        raise NotKnown
    # `dot` is as `np.matmul` in a third of the time for a row, but loses NaN times 0 where either is 1 by 1.
    function: Callable[..., AnyArray] = np.ndarray.dot
    if rows.width == 1:
        if weights.ndim == 1:
            raise NotKnown
        function = np.multiply
    width = weights.shape[1] if weights.ndim == 2 else None
    return reader.step(function, rows, reader.weight(weights, rows.dtype), dtype=rows.dtype, width=width)


def plus(reader: GraphReader, rows: Value, bias: AnyArray) -> Value:
    """Raises NotKnown where they do not fit."""
    if bias.size not in (1, rows.width):
        raise NotKnown
    return reader.step(np.add, rows, one_for_all(reader, bias, rows), dtype=rows.dtype, width=rows.width)
