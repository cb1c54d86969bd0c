"""ModelInferRequest and ModelInferResponse: raw contents, or typed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from tenantry_core.http.messages import Payload
from tenantry_core.oip import raw
from tenantry_core.oip.messages import Answerer, InferInput, InferRequest, Output, RequestedOutput
from tenantry_core.oip.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from tenantry_core.problems import Problem
from tenantry_core.values import AnyArray, to_json

CONTENT_TYPE = b"application/x-protobuf"

_HEADERS = ((b"content-type", CONTENT_TYPE),)
_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where typed contents of a datatype are; FP16 has raw contents only."""


def decode(body: bytes) -> InferRequest:
    """Raises Problem: 400 for what is no ModelInferRequest, or has its contents in the wrong place."""
    try:
        message = ModelInferRequest.FromString(body)
    except DecodeError as error:
        raise _malformed("The message is no ModelInferRequest.") from error
    contents = _raw_contents(message) if message.raw_input_contents else _typed_contents(message)
    return InferRequest(
        [
            InferInput(given.name, given.datatype, tuple(given.shape), data)
            for given, data in zip(message.inputs, contents, strict=True)
        ],
        [RequestedOutput(output.name) for output in message.outputs],
        message.id,
        bool(message.raw_input_contents),
    )


def encode(
    answerer: Answerer, request_id: str, outputs: Sequence[Output], arrays: Mapping[str, AnyArray]
) -> Payload:
    """Raw contents where the outputs are binary, or where one of them has no other form."""
    message = ModelInferResponse(model_name=answerer.model, model_version=answerer.version, id=request_id)
    as_raw = any(output.binary or output.tensor.datatype not in _FIELDS for output in outputs)
    for output in outputs:
        name, datatype = output.tensor.name, output.tensor.datatype
        array = arrays[name]
        described = message.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if as_raw:
            message.raw_output_contents.append(raw.to_bytes(array, datatype))
        else:
            getattr(described.contents, _FIELDS[datatype]).extend(_values(array, datatype))
    return Payload(_HEADERS, message.SerializeToString())


def _raw_contents(message: ModelInferRequest) -> Sequence[Sequence[Any] | memoryview]:
    contents = message.raw_input_contents
    if len(contents) != len(message.inputs):
        raise _malformed(f"There are {len(message.inputs)} inputs, but {len(contents)} raw_input_contents.")
    for given in message.inputs:
        if given.HasField("contents"):
            raise _malformed(
                f"Input {given.name!r} has contents, and there are raw_input_contents; give one."
            )
    return [memoryview(data) for data in contents]


def _typed_contents(message: ModelInferRequest) -> Sequence[Sequence[Any] | memoryview]:
    return [_values_of(given) for given in message.inputs]


def _values_of(given: ModelInferRequest.InferInputTensor) -> list[Any]:
    if given.datatype == "FP16":
        raise _malformed(f"Input {given.name!r} is FP16: send it in raw_input_contents.")
    field = _FIELDS.get(given.datatype, "")
    for other, _ in given.contents.ListFields():
        if other.name != field:
            raise _malformed(f"Input {given.name!r} is {given.datatype}: its values belong into {field}.")
    values = list(getattr(given.contents, field)) if field else []
    return _texts(given.name, values) if field == "bytes_contents" else values


def _texts(name: str, values: list[bytes]) -> list[str]:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise _malformed(f"Input {name!r} has a string that is not UTF-8.") from error


def _values(array: AnyArray, datatype: str) -> list[Any]:
    values = to_json(array.reshape(-1))
    if datatype == "BYTES":
        return [value.encode() if isinstance(value, str) else value for value in values]
    return values


def _malformed(message: str) -> Problem:
    return Problem(400, message, reason="Malformed")
