"""A tensor as bytes: row-major, little-endian, without padding; each element of BYTES after its length."""

from __future__ import annotations

import struct

import numpy as np

from tenantry_core.values import DATATYPES, AnyArray, ValueMismatch

_LENGTH = struct.Struct("<I")


class SizeMismatch(ValueError):
    """The number of bytes is not what datatype and shape make; the message is a clause about the bytes."""


def to_array(data: memoryview, datatype: str, count: int) -> AnyArray:
    """A one-dimensional array of `count` elements, over the same memory where that is aligned.

    Raises SizeMismatch, and ValueMismatch for the first element that is none of its datatype.
    """
    if datatype == "BYTES":
        return _strings(data, count)
    dtype = DATATYPES[datatype]
    if len(data) != count * dtype.itemsize:
        raise SizeMismatch(f"has {len(data)} bytes, but {count} x {datatype} are {count * dtype.itemsize}")
    if dtype.kind == "b":
        return _booleans(data)
    array = np.frombuffer(data, dtype)
    # The JSON before it may be of any length, and ONNX Runtime takes an address as it is.
    return array if array.flags.aligned else array.copy()


def to_bytes(array: AnyArray, datatype: str) -> bytes:
    """What `to_array` reads."""
    if datatype == "BYTES":
        parts = [value.encode() if isinstance(value, str) else value for value in array.reshape(-1).tolist()]
        return b"".join(piece for part in parts for piece in (_LENGTH.pack(len(part)), part))
    return np.ascontiguousarray(array, DATATYPES[datatype]).tobytes()


def _booleans(data: memoryview) -> AnyArray:
    array = np.frombuffer(data, np.uint8)
    if array.size and array.max() > 1:
        index = int(np.argmax(array > 1))
        raise ValueMismatch(index, f"a boolean is a byte 0 or 1, not {array[index]}")
    return array.view(np.bool_)


def _strings(data: memoryview, count: int) -> AnyArray:
    texts: list[str] = []
    at = 0
    for index in range(count):
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(data, at)[0] if start <= len(data) else start
        if end > len(data):
            raise SizeMismatch(f"has {len(data)} bytes: they break off within string {index} of {count}")
        try:
            texts.append(str(data[start:end], "utf-8"))
        except UnicodeDecodeError as error:
            raise ValueMismatch(index, "expected a string in UTF-8") from error
        at = end
    if at < len(data):
        raise SizeMismatch(f"has {len(data)} bytes: its {count} strings take only {at} of them")
    return np.array(texts, np.object_)
