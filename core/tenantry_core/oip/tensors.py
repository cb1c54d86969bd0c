"""A request's tensors against what the model takes and gives. Every misfit is named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tenantry_core.oip import raw
from tenantry_core.oip.messages import InferInput, InferRequest, Output
from tenantry_core.problems import Problem
from tenantry_core.values import DATATYPES, AnyArray, ValueMismatch, convert, to_array
from tenantry_core.wire import Tensor


def read_inputs(given: Sequence[InferInput], expected: Sequence[Tensor]) -> dict[str, AnyArray]:
    """One array for each of the model's inputs. Raises Problem (422) that names the input."""
    by_name = {tensor.name: tensor for tensor in given}
    if len(by_name) != len(given):
        raise _misfit("An input is given twice.")
    for tensor in expected:
        if tensor.name not in by_name:
            raise _misfit(f"Input {tensor.name!r} is missing; the model has {_names(expected)}.")
    if len(by_name) != len(expected):
        known = {tensor.name for tensor in expected}
        unknown = next(name for name in by_name if name not in known)
        raise _misfit(f"The model has no input {unknown!r}; it has {_names(expected)}.")
    return {tensor.name: _read(by_name[tensor.name], tensor) for tensor in expected}


def select_outputs(request: InferRequest, tensors: Sequence[Tensor]) -> list[Output]:
    """The outputs asked for, in that order; all of them when none is. Raises Problem (422)."""
    if not request.outputs:
        return [Output(tensor, request.binary) for tensor in tensors]
    known = {tensor.name: tensor for tensor in tensors}
    chosen: dict[str, Output] = {}
    for asked in request.outputs:
        tensor = known.get(asked.name)
        if tensor is None:
            raise _misfit(f"The model has no output {asked.name!r}; it has {_names(tensors)}.")
        binary = request.binary if asked.binary is None else asked.binary
        chosen.setdefault(asked.name, Output(tensor, binary))
    return list(chosen.values())


def differing_rows(arrays: Mapping[str, AnyArray]) -> Problem | None:
    """What is wrong (422) where inputs do not have as many rows as one another; else None.

    A model may take such inputs, so that this explains a refusal and makes none.
    """
    rows = {name: len(array) for name, array in arrays.items() if array.ndim}
    if len(set(rows.values())) < 2:
        return None
    first, *others = rows
    other = next(name for name in others if rows[name] != rows[first])
    return _misfit(
        f"Inputs differ in their rows: {first!r} has {rows[first]}, {other!r} has {rows[other]}; "
        "give each as many."
    )


def _read(given: InferInput, tensor: Tensor) -> AnyArray:
    name = f"Input {tensor.name!r}"
    _check_datatype(name, given.datatype, tensor.datatype)
    _check_shape(name, given.shape, tensor.shape)
    try:
        if isinstance(given.data, memoryview):
            values = raw.to_array(given.data, given.datatype, math.prod(given.shape))
            array = convert(values, tensor.datatype)
        else:
            array = to_array(_flatten(name, given.data, given.shape), tensor.datatype)
    except ValueMismatch as error:
        raise _misfit(f"{name}, value {error.index}: {error}.") from error
    except raw.SizeMismatch as error:
        raise _misfit(f"{name} {error} (its shape is {list(given.shape)}).") from error
    return array.reshape(given.shape)


def _check_datatype(name: str, given: str, expected: str) -> None:
    """Numbers may be sent as any type of number that the model's takes without loss of meaning."""
    if given not in DATATYPES:
        raise _misfit(f"{name}: {given!r} is no datatype that models take here; this one takes {expected}.")
    kind, wanted = DATATYPES[given].kind, DATATYPES[expected].kind
    suits = kind == wanted or (wanted == "f" and kind in "iu") or (wanted in "iu" and kind in "iu")
    if not suits:
        raise _misfit(f"{name} is {given}, but the model takes {expected}.")


def _check_shape(name: str, given: Sequence[int], expected: tuple[int, ...]) -> None:
    if any(size < 1 for size in given):
        raise _misfit(f"{name} has the shape {list(given)}: each dimension must be 1 or more.")
    fits = len(given) == len(expected) and all(
        limit in (-1, size) for size, limit in zip(given, expected, strict=True)
    )
    if not fits:
        raise _misfit(f"{name} has the shape {list(given)}, but the model takes {list(expected)}.")


def _flatten(name: str, data: Sequence[Any], shape: Sequence[int]) -> Sequence[Any]:
    """Flat values of flat or nested data. Each level of nesting must be as long as the shape says."""
    values = data
    if data and isinstance(data[0], list):
        for size in shape[1:]:
            if not all(isinstance(part, list) and len(part) == size for part in values):
                raise _misfit(f"{name}: the data is not nested as its shape {list(shape)} says.")
            values = [value for part in values for value in part]
    if len(values) != math.prod(shape):
        raise _misfit(f"{name} has {len(values)} values, but its shape {list(shape)} has {math.prod(shape)}.")
    return values


def _misfit(message: str) -> Problem:
    return Problem(422, message, reason="InputMismatch")


def _names(tensors: Sequence[Tensor]) -> str:
    return ", ".join(repr(tensor.name) for tensor in tensors)
