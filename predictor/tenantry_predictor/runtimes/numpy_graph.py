"""An ONNX graph as steps of numpy, where it is no more than a few operations on rows.

A step computes rows from rows: [N, width], or [N]. Weights, which differ from model to model, are told from
all else, which models of one kind share. What is not known for certain is left to ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from tenantry_core.values import DATATYPES, AnyArray
from tenantry_core.wire import Tensor

MOST_WEIGHTS_BYTES = 64 * 1024
"""Of all weights. Above, a session is not much larger than what it holds, and faster."""
MOST_NODES = 64
MOST_WIDTH, MOST_GROWTH = 2_048, 16
"""Values a row, of all steps together: so many, and so many for each value of the inputs. A body of a few
bytes a row must not become gigabytes, nor hold up others."""

_OPSETS = {"": range(9, 27), "ai.onnx.ml": range(1, 6)}
"""Versions in which the operators mean what they are read as here."""
_DATATYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.INT64: "INT64",
    TensorProto.INT32: "INT32",
    TensorProto.BOOL: "BOOL",
    TensorProto.STRING: "BYTES",
}


class NotKnown(Exception):
    """The graph is ONNX Runtime's."""


class Value(NamedTuple):
    """What is known of a value before there are rows."""

    at: int
    """Its place among the inputs and the steps' results."""
    dtype: np.dtype[Any]
    width: int | None
    """None: one value a row, [N] and not [N, 1]."""
    folded: bool = False
    """Of another shape as yet, with as many values: a Reshape makes it what the width says."""
    classes: int = 0
    """Where it is a place among so many."""


class Weight(NamedTuple):
    """A part of the weights."""

    at: int
    """Its place among them."""
    shape: tuple[int, ...]


class Step(NamedTuple):
    """One result. Equal ones of two models are computed by the same function."""

    function: Callable[..., AnyArray]
    operands: tuple[int | Weight, ...]


class Steps(NamedTuple):
    """A graph without its weights; equal for all models of one kind."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights: tuple[tuple[int, ...], ...]
    """Shapes, in the order in which they lie in one array."""
    dtype: np.dtype[Any]
    """Of the weights."""
    steps: tuple[Step, ...]
    results: tuple[int, ...]
    """Where the outputs are, among the inputs and the steps' results."""
    width: int
    """Values a row, of all steps together."""


class GraphReader:
    """What the operators' readers use: the values so far, constants, and a place for weights."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._values: dict[str, Value] = {}
        self._steps: list[Step] = []
        self._weights: list[AnyArray] = []
        self._bytes = 0
        self._width = 0
        self.inputs = tuple(self._input(at, value) for at, value in enumerate(graph.input))

    def is_constant(self, name: str) -> bool:
        return name in self._constants

    def constant(self, name: str) -> AnyArray:
        """Raises NotKnown."""
        tensor = self._constants.get(name)
        if tensor is None:
            raise NotKnown
        try:
            return numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
            raise NotKnown from error

    def value(self, name: str, *, folded: bool = False) -> Value:
        """Raises NotKnown; for a folded one only where that is asked for."""
        value = self._values.get(name)
        if value is None or (value.folded and not folded):
            raise NotKnown
        return value

    def weight(self, array: AnyArray, dtype: np.dtype[Any]) -> Weight:
        """A place for it. Raises NotKnown where it is of another type, or too much."""
        if array.dtype != dtype or (self._weights and self._weights[0].dtype != dtype):
            raise NotKnown
        self._weights.append(array)
        self._bytes += array.nbytes
        if self._bytes > MOST_WEIGHTS_BYTES:
            raise NotKnown
        return Weight(len(self._weights) - 1, array.shape)

    def step(
        self,
        function: Callable[..., AnyArray],
        *operands: Value | Weight,
        dtype: np.dtype[Any],
        width: int | None,
    ) -> Value:
        places = tuple(operand.at if isinstance(operand, Value) else operand for operand in operands)
        self._steps.append(Step(function, places))
        self._width += width or 1
        return Value(len(self.inputs) + len(self._steps) - 1, dtype, width)

    def name(self, name: str, value: Value) -> None:
        """Raises NotKnown where a value has the name already."""
        if name in self._values or name in self._constants:
            raise NotKnown
        self._values[name] = value

    def read(self, graph: onnx.GraphProto) -> tuple[Steps, AnyArray]:
        """The steps and all weights, [1, their number]. Raises NotKnown."""
        outputs = [self._output(value) for value in graph.output]
        if not self.inputs or not outputs:
            raise NotKnown
        if self._width > MOST_WIDTH + MOST_GROWTH * sum(tensor.shape[1] for tensor in self.inputs):
            raise NotKnown
        tensors, results = zip(*outputs, strict=True)
        dtype = self._weights[0].dtype if self._weights else np.dtype(np.float32)
        rows = [array.reshape(1, -1) for array in self._weights]
        weights = np.concatenate([np.empty((1, 0), dtype), *rows], axis=1)
        shapes = tuple(array.shape for array in self._weights)
        return Steps(self.inputs, tensors, shapes, dtype, tuple(self._steps), results, self._width), weights

    def _input(self, at: int, info: onnx.ValueInfoProto) -> Tensor:
        datatype, shape = _declared(info)
        if len(shape) != 2 or shape[0] != -1 or shape[1] < 1:
            raise NotKnown
        self.name(info.name, Value(at, DATATYPES[datatype], shape[1]))
        return Tensor(info.name, datatype, shape)

    def _output(self, info: onnx.ValueInfoProto) -> tuple[Tensor, int]:
        """As declared, where that is what is computed."""
        datatype, shape = _declared(info)
        value = self.value(info.name)
        computed = (-1,) if value.width is None else (-1, value.width)
        if shape != computed or value.at < len(self.inputs) or DATATYPES[datatype] != value.dtype:
            raise NotKnown
        return Tensor(info.name, datatype, shape), value.at


def _declared(info: onnx.ValueInfoProto) -> tuple[str, tuple[int, ...]]:
    tensor = info.type.tensor_type
    datatype = _DATATYPES.get(tensor.elem_type)
    if datatype is None or not tensor.HasField("shape") or not isinstance(info.name, str):
        raise NotKnown
    return datatype, tuple(size.dim_value if size.dim_value > 0 else -1 for size in tensor.shape.dim)


def check_opsets(model: onnx.ModelProto) -> None:
    """Raises NotKnown where the file may mean other operators than it seems to."""
    for opset in model.opset_import:
        if opset.domain not in _OPSETS or opset.version not in _OPSETS[opset.domain]:
            raise NotKnown
    graph = model.graph
    if model.functions or graph.sparse_initializer or len(graph.node) > MOST_NODES:
        raise NotKnown
