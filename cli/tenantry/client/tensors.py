"""Arrays as requests of the Open Inference Protocol with binary tensors, and its answers as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tenantry.client.answers import Answer
from tenantry_core.oip import raw
from tenantry_core.values import DATATYPES

HEADER_LENGTH = "Inference-Header-Content-Length"
"""How many bytes of JSON there are before the tensors."""
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}


class _Parameters(msgspec.Struct):
    binary_data_size: int | None = None


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _InferAnswer(msgspec.Struct):
    outputs: list[_Output]


def encode(
    inputs: Mapping[str, npt.ArrayLike], outputs: Sequence[str], user: str | None
) -> tuple[dict[str, str], bytes]:
    """Header fields and body. Raises TypeError for an array of a kind that no model takes."""
    arrays = {name: np.asarray(values) for name, values in inputs.items()}
    datatypes = {name: _datatype(name, array) for name, array in arrays.items()}
    tensors = {name: raw.to_bytes(array, datatypes[name]) for name, array in arrays.items()}
    described = [
        {
            "name": name,
            "datatype": datatypes[name],
            "shape": array.shape,
            "parameters": {"binary_data_size": len(tensors[name])},
        }
        for name, array in arrays.items()
    ]
    document: dict[str, Any] = {"inputs": described, "parameters": {"binary_data_output": True}}
    if user is not None:
        document["parameters"]["user_id"] = user
    if outputs:
        document["outputs"] = [{"name": name} for name in outputs]
    head = msgspec.json.encode(document)
    fields = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return fields, head + b"".join(tensors.values())


def decode(answer: Answer) -> dict[str, npt.NDArray[Any]]:
    """Raises TenantryError."""
    answer.raise_for_status()
    length = answer.headers.get(HEADER_LENGTH.lower(), "")
    end = int(length) if length.isdecimal() else len(answer.body)
    try:
        outputs = msgspec.json.decode(answer.body[:end], type=_InferAnswer).outputs
        tensors = memoryview(answer.body)[end:]
        arrays = {}
        for output in outputs:
            size = output.parameters.binary_data_size or 0
            arrays[output.name] = _array(output, tensors[:size])
            tensors = tensors[size:]
    except (ValueError, LookupError) as error:  # msgspec's and raw's errors are ValueErrors
        raise answer.misunderstood() from error
    return arrays


def _array(output: _Output, data: memoryview) -> npt.NDArray[Any]:
    if output.data is not None:
        return np.array(output.data, DATATYPES[output.datatype]).reshape(output.shape)
    count = int(np.prod(output.shape, dtype=np.int64))
    return raw.to_array(data, output.datatype, count).reshape(output.shape)


def _datatype(name: str, array: npt.NDArray[Any]) -> str:
    if array.dtype.kind in "OUTS":
        return "BYTES"
    datatype = _NAMES.get(array.dtype.newbyteorder("="))
    if datatype is None:
        raise TypeError(f"the input {name!r} is an array of {array.dtype}: give numbers, booleans or strings")
    return datatype
