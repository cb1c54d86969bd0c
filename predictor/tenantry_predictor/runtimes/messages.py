"""What a predictor and the process that holds one model say to each other (msgpack)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tenantry_core.values import DATATYPES
from tenantry_core.wire import Tensor


class Array(msgspec.Struct, frozen=True, array_like=True):
    name: str
    datatype: str
    """The Open Inference Protocol's."""
    shape: tuple[int, ...]
    data: bytes | list[str]
    """In the machine's own byte order; a list for BYTES."""


class Open(msgspec.Struct, frozen=True, tag=True):
    """Open a file. `native`: it is known not to convert, so only get ready to predict."""

    format: str
    content: bytes
    native: bool = False


class Predict(msgspec.Struct, frozen=True, tag=True):
    inputs: list[Array]
    outputs: list[str]


class Graph(msgspec.Struct, frozen=True, tag=True):
    """It converts to a graph that agrees; nothing more is wanted of the worker."""

    onnx: bytes
    parity: str


class Native(msgspec.Struct, frozen=True, tag=True):
    """It is served by the worker itself; `why` says what is wrong with a graph."""

    why: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    columns: tuple[str, ...]
    sample: str


class Answers(msgspec.Struct, frozen=True, tag=True):
    outputs: list[Array]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """`reason` is a status reason for Open, and empty for an input that the model refuses."""

    reason: str
    message: str


Request = Open | Predict
Reply = Graph | Native | Answers | Failed

_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(Request)
_replies = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    return _encoder.encode(message)


def decode_request(data: bytes) -> Request:
    message: Request = _requests.decode(data)
    return message


def decode_reply(data: bytes) -> Reply:
    """Raises msgspec.DecodeError: a worker that a model has taken over may say anything."""
    message: Reply = _replies.decode(data)
    return message


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> list[Array]:
    packed = []
    for name, values in arrays.items():
        datatype = next(d for d, dtype in DATATYPES.items() if values.dtype == dtype)
        data = values.ravel().tolist() if datatype == "BYTES" else np.ascontiguousarray(values).tobytes()
        packed.append(Array(name, datatype, values.shape, data))
    return packed


def unpack(arrays: list[Array]) -> dict[str, npt.NDArray[Any]]:
    """Raises ValueError for what is no array."""
    unpacked = {}
    for array in arrays:
        dtype = DATATYPES.get(array.datatype)
        if dtype is None or (array.datatype == "BYTES") != isinstance(array.data, list):
            raise ValueError(f"{array.name} is no array of {array.datatype}")
        flat = (
            np.array(array.data, dtype) if isinstance(array.data, list) else np.frombuffer(array.data, dtype)
        )
        unpacked[array.name] = flat.reshape(array.shape)
    return unpacked
