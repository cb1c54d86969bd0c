"""Values -> arrays, strictly: no string becomes a number, no number loses what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tenantry_core.problems import Problem

AnyArray = npt.NDArray[Any]

DATATYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
"""The Open Inference Protocol's datatypes and how arrays hold them. BYTES are `str` objects."""

_WIDEST_QUOTE = 40
_NUMBERS: frozenset[type] = frozenset({float, int, bool, NoneType})
_ALLOWED: Mapping[str, frozenset[type]] = {
    "f": _NUMBERS,
    "i": frozenset({int, bool}),
    "u": frozenset({int, bool}),
    "b": frozenset({bool}),
    "O": frozenset({str}),
}
"""Types of JSON values by the kind of array that takes them as they are."""
_EXPECTED = {
    "f": "a number",
    "i": "a whole number",
    "u": "a whole number, not negative",
    "b": "true or false",
    "O": "a string",
}


class ValueMismatch(ValueError):
    """The value at `index` does not suit the datatype; the message says what is expected."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


def parse_json(body: bytes) -> Any:
    """Any JSON document. Raises Problem (400): malformed, NaN or Infinity, not UTF-8, nested too deeply."""
    if not body:
        raise Problem(400, "The body is empty; send JSON.", reason="Malformed")
    try:
        return msgspec.json.decode(body)
    except RecursionError as error:
        raise Problem(400, "The JSON is nested too deeply.", reason="Malformed") from error
    except ValueError as error:  # msgspec's errors and UnicodeDecodeError
        hint = " (NaN and Infinity are not JSON; write null)" if _names_non_finite(body) else ""
        raise Problem(400, f"The body is no JSON: {error}{hint}.", reason="Malformed") from error


def to_array(values: Sequence[Any], datatype: str) -> AnyArray:
    """A one-dimensional array of JSON values.

    Floats take numbers, booleans (0 and 1) and null (NaN). Integers take whole numbers, `3.0` too, and
    booleans. BOOL takes booleans, BYTES strings. Raises ValueMismatch for the first that does not fit, also
    by its size.
    """
    dtype = DATATYPES[datatype]
    if not _ALLOWED[dtype.kind].issuperset(map(type, values)):
        values = _coerce(values, dtype)
    try:
        with np.errstate(over="raise"):
            return np.array(values, dtype=dtype)
    except (OverflowError, FloatingPointError) as error:
        raise _too_large(values, dtype, datatype) from error


def convert(array: AnyArray, datatype: str) -> AnyArray:
    """A one-dimensional array of another datatype of numbers; the same one where it has this datatype.

    Raises ValueMismatch for the first number that is too large for it. Floats may lose digits.
    """
    dtype = DATATYPES[datatype]
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    if dtype.kind == "f":
        lost = np.isinf(converted) & np.isfinite(array)
    else:
        limits = np.iinfo(dtype)
        lost = (array < limits.min) | (array > limits.max)
    if lost.any():
        index = int(np.argmax(lost))
        raise ValueMismatch(index, f"{quote(array[index].item())} does not fit into {datatype}")
    return converted


def to_json(array: AnyArray) -> list[Any]:
    """Nested lists for msgspec, which writes non-finite numbers as null."""
    values: list[Any] = array.tolist()
    return values


def quote(value: object) -> str:
    """A value as JSON, shortened, for a sentence."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _WIDEST_QUOTE else text[:_WIDEST_QUOTE] + "..."


def _coerce(values: Sequence[Any], dtype: np.dtype[Any]) -> list[Any]:
    """Whole floats for integer arrays: JavaScript and pandas write 3 as 3.0 at times."""
    allowed = _ALLOWED[dtype.kind]
    coerced = []
    for index, value in enumerate(values):
        if type(value) in allowed:
            coerced.append(value)
        elif dtype.kind in "iu" and type(value) is float and value.is_integer():
            coerced.append(int(value))
        else:
            raise ValueMismatch(index, f"expected {_EXPECTED[dtype.kind]}, got {quote(value)}")
    return coerced


def _too_large(values: Sequence[Any], dtype: np.dtype[Any], datatype: str) -> ValueMismatch:
    for index, value in enumerate(values):
        try:
            with np.errstate(over="raise"):
                np.array([value], dtype=dtype)
        except (OverflowError, FloatingPointError):
            return ValueMismatch(index, f"{quote(value)} does not fit into {datatype}")
    raise AssertionError("one of the values did not fit")


def _names_non_finite(body: bytes) -> bool:
    return b"NaN" in body or b"Infinity" in body
