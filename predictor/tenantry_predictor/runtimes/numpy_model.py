"""Small graphs computed by numpy: a linear model takes a kilobyte, where a session takes 43 to 109."""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import onnx

from tenantry_core.problems import Problem
from tenantry_predictor.runtimes import onnx_metadata
from tenantry_predictor.runtimes.base import AnyArray, LoadedModel
from tenantry_predictor.runtimes.limits import check_size, no_memory
from tenantry_predictor.runtimes.numpy_functions import constants_bytes
from tenantry_predictor.runtimes.numpy_graph import (
    MOST_WEIGHTS_BYTES,
    GraphReader,
    NotKnown,
    Steps,
    Weight,
    check_opsets,
)
from tenantry_predictor.runtimes.numpy_operators import read_nodes

MOST_FILE_BYTES = 2 * MOST_WEIGHTS_BYTES
"""A larger file holds other things than weights."""
_MODEL_BYTES = 1_600
"""Of a model without weights and sample: its objects and what the memory and disk tiers keep of it."""
_PROGRAM_BYTES, _STEP_BYTES, _TENSOR_BYTES = 2_000, 600, 300
_BRIEF_WIDTH = 256
"""Values a row, of all steps: a thousand rows of these take a millisecond."""


class _Quiet(threading.local):
    """Runs without numpy's warnings of overflow and NaN, in a context that each thread enters time and again.

    `np.errstate` sets it and takes it back each time, which costs a fifth of a prediction.
    """

    def __init__(self) -> None:
        context = contextvars.Context()
        context.run(np.seterr, all="ignore")
        self.run = context.run


_quiet = _Quiet()


class Program:
    """What models of one kind share: names, types and steps, to be computed with the weights of each."""

    def __init__(self, steps: Steps, columns: tuple[str, ...]) -> None:
        self.inputs, self.outputs, self.columns = steps.inputs, steps.outputs, columns
        self._widths = [(tensor.name, tensor.shape[1]) for tensor in steps.inputs]
        ends = np.cumsum([math.prod(shape) for shape in steps.weights]).tolist()
        self._parts = [
            (np.s_[:, start:end], None if len(shape) == 2 and shape[0] == 1 else shape)
            for start, end, shape in zip([0, *ends], ends, steps.weights, strict=False)
        ]
        first = len(ends) + len(steps.inputs)
        self._blanks = [None] * len(steps.steps)
        self._steps = [
            (first + at, _bound(function, [_place(operand, len(ends)) for operand in operands]))
            for at, (function, operands) in enumerate(steps.steps)
        ]
        self._places = {
            tensor.name: len(ends) + at for tensor, at in zip(steps.outputs, steps.results, strict=True)
        }
        self._alone = {
            tensor.name: [self._steps[at] for at in _needed(steps, result)]
            for tensor, result in zip(steps.outputs, steps.results, strict=True)
        }
        self.size_bytes = (
            _PROGRAM_BYTES
            + _STEP_BYTES * len(steps.steps)
            + _TENSOR_BYTES * (len(steps.inputs) + len(steps.outputs))
            + sum(100 + 4 * len(name) for name in columns)
            + sum(4 * len(tensor.name) for tensor in (*steps.inputs, *steps.outputs))
            + sum(constants_bytes(step.function) for step in steps.steps)
        )
        self.brief = steps.width <= _BRIEF_WIDTH

    def run(
        self, weights: AnyArray, tensors: Mapping[str, AnyArray], outputs: Sequence[str]
    ) -> dict[str, AnyArray]:
        """Raises Problem (422) when an input is missing or has another shape."""
        values: list[Any] = [
            weights[part] if shape is None else weights[part].reshape(shape) for part, shape in self._parts
        ]
        for name, width in self._widths:
            array = tensors.get(name)
            if array is None or array.ndim != 2 or array.shape[1] != width:
                raise _refused(name, width, array)
            values.append(array)
        values += self._blanks
        for at, step in self._alone[outputs[0]] if len(outputs) == 1 else self._steps:
            values[at] = step(values)
        return {name: values[self._places[name]] for name in outputs}


_programs: WeakValueDictionary[tuple[Steps, tuple[str, ...]], Program] = WeakValueDictionary()


class NumpyModel(LoadedModel):
    """A program and the weights of one model, in one array."""

    __slots__ = ("_program", "_weights", "columns", "inputs", "outputs", "sample", "size_bytes")

    engine = "onnx"

    @property
    def brief(self) -> bool:
        return self._program.brief

    def __init__(self, program: Program, weights: AnyArray, sample: bytes | None, size_bytes: int) -> None:
        self._program = program
        self._weights = weights
        self.inputs, self.outputs, self.columns = program.inputs, program.outputs, program.columns
        self.sample = sample
        self.size_bytes = size_bytes

    def predict(self, tensors: Mapping[str, AnyArray], outputs: Sequence[str]) -> dict[str, AnyArray]:
        try:
            results = _quiet.run(self._program.run, self._weights, tensors, outputs)
        except MemoryError as error:
            raise no_memory() from error
        except ValueError as error:
            raise Problem(422, f"The model refused the input: {error}.", reason="InputRefused") from error
        check_size(results.values())
        return results

    def close(self) -> None:
        """Nothing but memory, which goes with the object."""


def read(model: onnx.ModelProto) -> NumpyModel | None:
    """None for a graph that is ONNX Runtime's. Raises LoadError for metadata that do not suit the graph."""
    try:
        check_opsets(model)
        reader = GraphReader(model.graph)
        read_nodes(reader, model.graph.node)
        steps, weights = reader.read(model.graph)
    except NotKnown:
        return None
    metadata = onnx_metadata.of(model)
    columns = onnx_metadata.columns(metadata, steps.inputs)
    sample = onnx_metadata.sample(metadata)
    program = _programs.get((steps, columns))
    size = _MODEL_BYTES + weights.nbytes + len(sample or b"")
    if program is None:
        # The first of a kind answers for what others share with it.
        program = _programs[steps, columns] = Program(steps, columns)
        size += program.size_bytes
    return NumpyModel(program, weights, sample, size)


def _place(operand: int | Weight, weights: int) -> int:
    """Among weights, inputs and results."""
    return operand.at if isinstance(operand, Weight) else weights + operand


def _needed(steps: Steps, result: int) -> list[int]:
    """The steps that one output takes, in their order: labels do without probabilities."""
    first = len(steps.inputs)
    needed = {result - first}
    for at in range(len(steps.steps) - 1, -1, -1):
        if at in needed:
            needed |= {one - first for one in steps.steps[at].operands if isinstance(one, int)}
    return sorted(at for at in needed if at >= 0)


def _bound(function: Callable[..., AnyArray], operands: list[int]) -> Callable[[list[AnyArray]], AnyArray]:
    """A step on the values so far. Most have two operands: their list would take longer than the step."""
    if len(operands) == 2:
        first, second = operands
        return lambda values: function(values[first], values[second])
    return lambda values: function(*[values[operand] for operand in operands])


def _refused(name: str, width: int, array: AnyArray | None) -> Problem:
    what = (
        f"the input {name!r} is missing"
        if array is None
        else f"{name!r} has the shape {list(array.shape)}, expected [-1, {width}]"
    )
    return Problem(422, f"The model refused the input: {what}.", reason="InputRefused")
