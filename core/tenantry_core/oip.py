"""The Open Inference Protocol, version 2, in JSON: requests -> arrays, arrays -> answers.

Protocol: https://github.com/kserve/open-inference-protocol (inference, metadata). The binary tensor
extension is recognised by its header and refused for now.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tenantry_core.problems import Problem
from tenantry_core.values import DATATYPES, AnyArray, ValueMismatch, to_array, to_json
from tenantry_core.wire import Tensor


class InferInput(msgspec.Struct):
    """One input tensor; `data` is flat in row-major order, or nested as `shape` says."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class InferRequest(msgspec.Struct):
    inputs: tuple[InferInput, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    id: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


_decode = msgspec.json.Decoder(InferRequest).decode


def decode_request(body: bytes) -> InferRequest:
    """Raises Problem: 400 for what is no JSON or no inference request."""
    try:
        return _decode(body)
    except RecursionError as error:
        raise Problem(400, "The JSON is nested too deeply.", reason="Malformed") from error
    except ValueError as error:
        message = f"The body is no inference request of the Open Inference Protocol: {error}."
        raise Problem(400, message, reason="Malformed") from error


def read_inputs(request: InferRequest, inputs: Sequence[Tensor]) -> dict[str, AnyArray]:
    """One array for each of the model's inputs. Raises Problem (422) that names the input."""
    given = {tensor.name: tensor for tensor in request.inputs}
    expected = {tensor.name for tensor in inputs}
    if len(given) != len(request.inputs):
        raise _misfit("An input is given twice.")
    for name in given:
        if name not in expected:
            raise _misfit(f"The model has no input {name!r}; it has {_names(inputs)}.")
    for tensor in inputs:
        if tensor.name not in given:
            raise _misfit(f"Input {tensor.name!r} is missing; the model has {_names(inputs)}.")
    return {tensor.name: _read(given[tensor.name], tensor) for tensor in inputs}


def select_outputs(request: InferRequest, outputs: Sequence[Tensor]) -> tuple[str, ...]:
    """The outputs asked for, in that order; all of them when none is. Raises Problem (422)."""
    if not request.outputs:
        return tuple(tensor.name for tensor in outputs)
    known = {tensor.name for tensor in outputs}
    for requested in request.outputs:
        if requested.name not in known:
            raise _misfit(f"The model has no output {requested.name!r}; it has {_names(outputs)}.")
    return tuple(dict.fromkeys(requested.name for requested in request.outputs))


def encode_response(
    model: str, version: str, request_id: str, outputs: Mapping[str, AnyArray], tensors: Sequence[Tensor]
) -> bytes:
    """The answer's JSON; `data` is flat in row-major order, non-finite numbers are null."""
    datatypes = {tensor.name: tensor.datatype for tensor in tensors}
    document: dict[str, Any] = {"model_name": model, "model_version": version}
    if request_id:
        document["id"] = request_id
    document["outputs"] = [
        {
            "name": name,
            "shape": array.shape,
            "datatype": datatypes[name],
            "data": to_json(array.reshape(-1)),
        }
        for name, array in outputs.items()
    ]
    return msgspec.json.encode(document)


def metadata(
    model: str, version: str, platform: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> bytes:
    """The answer to a request for a model's metadata."""
    return msgspec.json.encode(
        {
            "name": model,
            "versions": [version],
            "platform": platform,
            "inputs": inputs,
            "outputs": outputs,
        }
    )


def _read(given: InferInput, tensor: Tensor) -> AnyArray:
    name = f"Input {tensor.name!r}"
    if given.data is None or "binary_data_size" in given.parameters:
        raise Problem(
            400, f"{name} has no data in JSON; binary tensors are not taken here.", reason="Malformed"
        )
    _check_datatype(name, given.datatype, tensor.datatype)
    _check_shape(name, given.shape, tensor.shape)
    values = _flatten(name, given.data, given.shape)
    try:
        return to_array(values, tensor.datatype).reshape(given.shape)
    except ValueMismatch as error:
        raise _misfit(f"{name}, value {error.index}: {error}.") from error


def _check_datatype(name: str, given: str, expected: str) -> None:
    """Numbers may be sent as any type of number that the model's takes without loss of meaning."""
    if given not in DATATYPES:
        raise _misfit(f"{name}: {given!r} is no datatype of the protocol; the model takes {expected}.")
    kind, wanted = DATATYPES[given].kind, DATATYPES[expected].kind
    suits = kind == wanted or (wanted == "f" and kind in "iu") or (wanted in "iu" and kind in "iu")
    if not suits:
        raise _misfit(f"{name} is {given}, but the model takes {expected}.")


def _check_shape(name: str, given: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if any(size < 1 for size in given):
        raise _misfit(f"{name} has the shape {list(given)}: each dimension must be 1 or more.")
    fits = len(given) == len(expected) and all(
        limit in (-1, size) for size, limit in zip(given, expected, strict=True)
    )
    if not fits:
        raise _misfit(f"{name} has the shape {list(given)}, but the model takes {list(expected)}.")


def _flatten(name: str, data: list[Any], shape: tuple[int, ...]) -> list[Any]:
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
