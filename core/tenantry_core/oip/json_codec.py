"""JSON, and tensors in bytes after it: the binary tensor data extension.

    Inference-Header-Content-Length: 142      the JSON's bytes; what follows belongs to inputs, in their order
    {"inputs": [{"name": "x", ..., "parameters": {"binary_data_size": 80}}]} and 80 bytes

An answer has the same form where an output is asked for by `binary_data`, or all by `binary_data_output`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from tenantry_core.http.messages import Payload
from tenantry_core.oip import raw
from tenantry_core.oip.messages import Answerer, InferInput, InferRequest, Output, RequestedOutput
from tenantry_core.problems import Problem
from tenantry_core.values import AnyArray, to_json
from tenantry_core.wire import Tensor

JSON_LENGTH = b"inference-header-content-length"

_JSON = ((b"content-type", b"application/json"),)
_BINARY = (b"content-type", b"application/octet-stream")


class _InputParameters(msgspec.Struct):
    binary_data_size: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _Input(msgspec.Struct):
    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Any] | None = None
    parameters: _InputParameters | None = None


class _OutputParameters(msgspec.Struct):
    binary_data: bool | None = None
    classification: int = 0


class _Output(msgspec.Struct):
    name: str
    parameters: _OutputParameters | None = None


class _Parameters(msgspec.Struct):
    binary_data_output: bool = False


class _Request(msgspec.Struct):
    inputs: list[_Input]
    outputs: list[_Output] = []
    id: str = ""
    parameters: _Parameters | None = None


_decode = msgspec.json.Decoder(_Request).decode


def json_length(value: bytes | None, body: bytes) -> int:
    """How many bytes at the start of the body are JSON, by the field's value. Raises Problem 400."""
    if value is None:
        return len(body)
    if not (value.isdigit() and len(value) < 12 and int(value) <= len(body)):
        raise _malformed("Inference-Header-Content-Length is no number of bytes within the body.")
    return int(value)


def decode(body: bytes, length: int | None = None) -> InferRequest:
    """Of `length` bytes of JSON and tensors in bytes after it; None: all is JSON.

    Raises Problem: 400 for what is no JSON, no inference request, or not as long as its inputs say.
    """
    view = memoryview(body)
    request = _parse(view[:length])
    binary = _Binary(view[length:] if length is not None else None)
    inputs = [InferInput(i.name, i.datatype, i.shape, _data(i, binary)) for i in request.inputs]
    binary.end()
    return InferRequest(
        inputs,
        [_requested(output) for output in request.outputs],
        request.id,
        request.parameters is not None and request.parameters.binary_data_output,
    )


def encode(
    answerer: Answerer, request_id: str, outputs: Sequence[Output], arrays: Mapping[str, AnyArray]
) -> Payload:
    """The answer, its outputs in this order; in JSON `data` is flat and non-finite numbers are null."""
    document: dict[str, Any] = {"model_name": answerer.model, "model_version": answerer.version}
    if request_id:
        document["id"] = request_id
    binary: list[bytes] = []
    document["outputs"] = [_described(output, arrays[output.tensor.name], binary) for output in outputs]
    text = msgspec.json.encode(document)
    if not binary:
        return Payload(_JSON, text)
    return Payload((_BINARY, (JSON_LENGTH, b"%d" % len(text))), b"".join([text, *binary]))


def encode_metadata(
    answerer: Answerer, platform: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> bytes:
    """The answer to a request for a model's metadata."""
    return msgspec.json.encode(
        {
            "name": answerer.model,
            "versions": [answerer.version],
            "platform": platform,
            "inputs": inputs,
            "outputs": outputs,
        }
    )


class _Binary:
    """The bytes after the JSON, taken by the inputs in their order."""

    def __init__(self, data: memoryview | None) -> None:
        self._data = data
        self._taken = 0

    def take(self, name: str, size: int) -> memoryview:
        if self._data is None:
            raise _malformed(
                f"Input {name!r} has a binary_data_size, but the request no Inference-Header-Content-Length."
            )
        start, self._taken = self._taken, self._taken + size
        if self._taken > len(self._data):
            left = len(self._data) - start
            raise _malformed(
                f"Input {name!r} has a binary_data_size of {size}, but the body has {left} bytes left."
            )
        return self._data[start : self._taken]

    def end(self) -> None:
        if self._data is not None and self._taken < len(self._data):
            over = len(self._data) - self._taken
            raise _malformed(
                f"The body has {over} bytes after its JSON that no input's binary_data_size counts."
            )


def _parse(text: memoryview) -> _Request:
    try:
        return _decode(text)
    except RecursionError as error:
        raise _malformed("The JSON is nested too deeply.") from error
    except ValueError as error:
        raise _malformed(
            f"The body is no inference request of the Open Inference Protocol: {error}."
        ) from error


def _data(given: _Input, binary: _Binary) -> Sequence[Any] | memoryview:
    size = given.parameters.binary_data_size if given.parameters is not None else None
    if size is None:
        if given.data is None:
            raise _malformed(f"Input {given.name!r} has neither data nor a binary_data_size.")
        return given.data
    if given.data is not None:
        raise _malformed(f"Input {given.name!r} has data and a binary_data_size; give one of them.")
    return binary.take(given.name, size)


def _requested(output: _Output) -> RequestedOutput:
    parameters = output.parameters
    if parameters is None:
        return RequestedOutput(output.name)
    if parameters.classification:
        raise _malformed(f"Output {output.name!r} asks for a classification: that extension is not offered.")
    return RequestedOutput(output.name, parameters.binary_data)


def _described(output: Output, array: AnyArray, binary: list[bytes]) -> dict[str, Any]:
    """An output's JSON; its bytes go to `binary` where they are asked for."""
    tensor = output.tensor
    described = {"name": tensor.name, "shape": array.shape, "datatype": tensor.datatype}
    if output.binary:
        data = raw.to_bytes(array, tensor.datatype)
        binary.append(data)
        return described | {"parameters": {"binary_data_size": len(data)}}
    described["data"] = to_json(array.reshape(-1))
    return described


def _malformed(message: str) -> Problem:
    return Problem(400, message, reason="Malformed")
