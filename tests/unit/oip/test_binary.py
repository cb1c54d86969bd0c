"""The binary tensor extension: the bytes that are sent are the model's arrays, and a wrong size is named."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_core.oip import json_codec, raw
from tenantry_core.oip.messages import Answerer, InferRequest, Output
from tenantry_core.oip.tensors import read_inputs, select_outputs
from tenantry_core.problems import Problem
from tenantry_core.values import AnyArray
from tenantry_core.wire import Tensor
from unit.oip.arrays import assert_same, many

X = Tensor("x", "FP32", (-1, 2))
NAME = Tensor("name", "BYTES", (-1,))
VALUES = np.array([[1, 2], [3, 4]], np.float32)


def body(inputs: list[dict[str, Any]], *binary: bytes, **more: Any) -> tuple[bytes, int]:
    text = json.dumps({"inputs": inputs, **more}).encode()
    return b"".join([text, *binary]), len(text)


def described(tensor: Tensor, shape: Any, size: int, datatype: str = "") -> dict[str, Any]:
    datatype = datatype or tensor.datatype
    parameters = {"binary_data_size": size}
    return {"name": tensor.name, "shape": list(shape), "datatype": datatype, "parameters": parameters}


def read(data: tuple[bytes, int], *tensors: Tensor) -> dict[str, AnyArray]:
    return read_inputs(json_codec.decode(*data).inputs, tensors)


def refusal(data: tuple[bytes, int], *tensors: Tensor) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        read(data, *tensors)
    return caught.value.status, caught.value.error


@given(many(), st.data())
def test_each_datatype_and_any_mixture_with_json_is_read_as_it_was_sent(
    sent: list[tuple[Tensor, AnyArray]], data: st.DataObject
) -> None:
    inputs, parts = [], []
    for tensor, array in sent:
        part = raw.to_bytes(array, tensor.datatype)
        in_json = array.dtype.kind not in "f" and data.draw(st.booleans())
        entry = described(tensor, array.shape, len(part))
        if in_json:
            entry = entry | {"parameters": {}, "data": array.tolist()}
        else:
            parts.append(part)
        inputs.append(entry)
    arrays = read(body(inputs, *parts), *(tensor for tensor, _ in sent))
    for tensor, array in sent:
        assert_same(arrays[tensor.name], array)


@given(many(), st.data())
def test_an_answer_in_bytes_can_be_sent_back(
    sent: list[tuple[Tensor, AnyArray]], data: st.DataObject
) -> None:
    outputs = [Output(tensor, array.dtype.kind == "f" or data.draw(st.booleans())) for tensor, array in sent]
    payload = json_codec.encode(Answerer("m", "v"), "7", outputs, {t.name: array for t, array in sent})
    length = int(dict(payload.headers).get(json_codec.JSON_LENGTH, len(payload.body)))
    answer = json.loads(payload.body[:length])
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("m", "v", "7")
    again = body(answer["outputs"], payload.body[length:])
    arrays = read(again, *(tensor for tensor, _ in sent))
    for tensor, array in sent:
        assert_same(arrays[tensor.name], array)


def test_a_tensor_that_is_aligned_is_not_copied() -> None:
    text, length = body([described(X, (2, 2), 16)])
    padded = text + b" " * (-length % 16)
    data = padded + VALUES.tobytes()
    [given_] = json_codec.decode(data, len(padded)).inputs
    assert isinstance(given_.data, memoryview)
    array = raw.to_array(given_.data, "FP32", 4)
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("datatype", ["FP64", "FP16", "INT64", "UINT8"])
def test_numbers_of_other_datatypes_are_taken_for_floats(datatype: str) -> None:
    dtype = {"FP64": "<f8", "FP16": "<f2", "INT64": "<i8", "UINT8": "<u1"}[datatype]
    part = VALUES.astype(dtype).tobytes()
    arrays = read(body([described(X, (2, 2), len(part), datatype)], part), X)
    assert_same(arrays["x"], VALUES)


def test_what_is_not_finite_stays_so_in_bytes() -> None:
    values = np.array([[np.nan, np.inf]], np.float32)
    assert_same(read(body([described(X, (1, 2), 8)], values.tobytes()), X)["x"], values)
    wide = body([described(X, (1, 2), 16, "FP64")], values.astype("<f8").tobytes())
    assert_same(read(wide, X)["x"], values)


ONE = described(X, (1, 2), 8)
EIGHT = bytes(8)


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        (body([ONE], b""), 400, "Input 'x' has a binary_data_size of 8, but the body has 0 bytes left"),
        (body([ONE], bytes(7)), 400, "the body has 7 bytes left"),
        (body([ONE], bytes(9)), 400, "1 bytes after its JSON that no input's binary_data_size counts"),
        (body([ONE | {"data": [1, 2]}], EIGHT), 400, "data and a binary_data_size"),
        (body([described(X, (1, 2), -1)], EIGHT), 400, "no inference request"),
        (body([ONE | {"parameters": {"binary_data_size": "8"}}], EIGHT), 400, "no inference request"),
        (body([ONE | {"parameters": {"binary_data_size": 10**30}}], EIGHT), 400, "the body has 8 bytes left"),
        (body([described(X, (1, 2), 10**12)], EIGHT), 400, "the body has 8 bytes left"),
        (body([described(X, (2, 2), 8)], EIGHT), 422, "Input 'x' has 8 bytes, but 4 x FP32 are 16"),
        (body([described(X, (10**12, 2), 8)], EIGHT), 422, "has 8 bytes, but"),
        (body([described(X, (1, 3), 12)], bytes(12)), 422, "shape [1, 3], but the model takes [-1, 2]"),
        (body([described(X, (1, 2), 8, "BF16")], EIGHT), 422, "'BF16' is no datatype"),
        (body([described(X, (1, 2), 8, "BYTES")], EIGHT), 422, "is BYTES, but the model takes FP32"),
        (body([described(X, (1, 2), 2, "BOOL")], bytes(2)), 422, "is BOOL, but the model takes FP32"),
        (
            body([described(X, (1, 2), 16, "FP64")], struct.pack("<dd", 1, 1e300)),
            422,
            "value 1: 1e300 does not fit into FP32",
        ),
    ],
)
def test_wrong_sizes_and_types_are_named(data: tuple[bytes, int], status: int, sentence: str) -> None:
    found, error = refusal(data, X)
    assert (found, sentence in error) == (status, True), error


def packed(*strings: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(string)) + string for string in strings)


@pytest.mark.parametrize(
    ("data", "count", "sentence"),
    [
        (packed(b"a", b"b")[:-1], 2, "break off within string 1 of 2"),
        (packed(b"a") + b"\x00\x00", 2, "break off within string 1 of 2"),
        (packed(b"a"), 2, "break off within string 1 of 2"),
        (packed(b"a", b"b"), 1, "its 1 strings take only 5 of them"),
        (b"\xff\xff\xff\xff", 1, "break off within string 0 of 1"),
        (packed(b"a", b"\xff"), 2, "value 1: expected a string in UTF-8"),
        (packed(b"a"), 10**12, "break off within string 1"),
    ],
)
def test_strings_that_do_not_add_up_are_named(data: bytes, count: int, sentence: str) -> None:
    found, error = refusal(body([described(NAME, (count,), len(data))], data), NAME)
    assert (found, sentence in error) == (422, True), error


@pytest.mark.parametrize(
    ("model", "sent", "values", "sentence"),
    [
        ("INT8", "INT64", [1, 200], "value 1: 200 does not fit into INT8"),
        ("UINT64", "INT64", [1, -1], "value 1: -1 does not fit into UINT64"),
        ("INT64", "UINT64", [2**63], f"value 0: {2**63} does not fit into INT64"),
        ("FP16", "INT32", [1, 100_000], "value 1: 100000 does not fit into FP16"),
    ],
)
def test_no_number_wraps_around(model: str, sent: str, values: list[int], sentence: str) -> None:
    tensor = Tensor("n", model, (-1,))
    part = np.array(values, {"INT64": "<i8", "UINT64": "<u8", "INT32": "<i4"}[sent]).tobytes()
    found, error = refusal(body([described(tensor, (len(values),), len(part), sent)], part), tensor)
    assert (found, sentence in error) == (422, True), error


def test_a_boolean_is_a_zero_or_a_one() -> None:
    tensor = Tensor("b", "BOOL", (-1,))
    found, error = refusal(body([described(tensor, (3,), 3)], b"\x00\x01\x02"), tensor)
    assert (found, "value 2: a boolean is a byte 0 or 1, not 2" in error) == (422, True), error


@pytest.mark.parametrize(
    ("asked", "binary"),
    [
        ({}, [False, False]),
        ({"parameters": {"binary_data_output": True}}, [True, True]),
        ({"outputs": [{"name": "b", "parameters": {"binary_data": True}}, {"name": "a"}]}, [True, False]),
        (
            {
                "outputs": [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}],
                "parameters": {"binary_data_output": True},
            },
            [True, False],
        ),
    ],
)
def test_outputs_come_in_bytes_where_they_are_asked_for_so(asked: dict[str, Any], binary: list[bool]) -> None:
    outputs = (Tensor("a", "FP32", (-1,)), Tensor("b", "FP32", (-1,)))
    request = json_codec.decode(body([], **asked)[0])
    assert [output.binary for output in select_outputs(request, outputs)] == binary


@pytest.mark.parametrize("value", [b"-1", b"1.5", b"", b"99", b"1" * 13, b"x"])
def test_a_length_of_the_json_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(Problem, match="Inference-Header-Content-Length") as caught:
        json_codec.json_length(value, b"{}")
    assert caught.value.status == 400


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_body_is_worse_than_refused(data: bytes, length: int) -> None:
    with contextlib.suppress(Problem):
        assert isinstance(json_codec.decode(data, min(length, len(data))), InferRequest)
