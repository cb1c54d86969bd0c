"""ModelInferRequest and ModelInferResponse, by the messages of a client that knows only the protocol."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as client

from tenantry_core.oip import protobuf_codec, raw
from tenantry_core.oip.envelope_pb2 import Envelope
from tenantry_core.oip.messages import Answerer, InferRequest, Output
from tenantry_core.oip.tensors import read_inputs, select_outputs
from tenantry_core.problems import Problem
from tenantry_core.values import AnyArray
from tenantry_core.wire import Tensor
from unit.oip.arrays import assert_same, many

X = Tensor("x", "FP32", (-1, 2))
FIELDS = (
    {"BOOL": "bool_contents", "INT64": "int64_contents", "UINT64": "uint64_contents"}
    | dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents")
    | dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents")
    | {"FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents"}
)


def flat(array: AnyArray) -> list[Any]:
    values = array.reshape(-1).tolist()
    return [value.encode() for value in values] if array.dtype.kind == "O" else values


def message(sent: list[tuple[Tensor, AnyArray]], *, as_raw: bool) -> Any:
    request = client.ModelInferRequest(model_name="m", id="7")
    for tensor, array in sent:
        given_ = request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
        if as_raw:
            request.raw_input_contents.append(raw.to_bytes(array, tensor.datatype))
        else:
            getattr(given_.contents, FIELDS[tensor.datatype]).extend(flat(array))
    return request


@given(many(), st.booleans())
def test_each_datatype_is_read_as_it_was_sent_and_answered_in_the_same_form(
    sent: list[tuple[Tensor, AnyArray]], as_raw: bool
) -> None:
    if not as_raw:
        sent = [pair for pair in sent if pair[0].datatype != "FP16"]
    request = protobuf_codec.decode(message(sent, as_raw=as_raw).SerializeToString())
    tensors = [tensor for tensor, _ in sent]
    arrays = read_inputs(request.inputs, tensors)
    for tensor, array in sent:
        assert_same(arrays[tensor.name], array)

    payload = protobuf_codec.encode(Answerer("m", "v"), request.id, select_outputs(request, tensors), arrays)
    answer = client.ModelInferResponse.FromString(payload.body)
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "v", "7")
    assert len(answer.raw_output_contents) == (len(sent) if as_raw else 0)
    for index, (tensor, array) in enumerate(sent):
        output = answer.outputs[index]
        assert (output.name, output.datatype, tuple(output.shape)) == (
            tensor.name,
            tensor.datatype,
            array.shape,
        )
        if as_raw:
            read = raw.to_array(memoryview(answer.raw_output_contents[index]), tensor.datatype, array.size)
            assert_same(read.reshape(array.shape), array)
        else:
            assert str(list(getattr(output.contents, FIELDS[tensor.datatype]))) == str(flat(array))


def test_half_precision_is_answered_raw_however_it_was_asked_for() -> None:
    half = Tensor("h", "FP16", (-1,))
    array = raw.to_array(memoryview(bytes(4)), "FP16", 2)
    payload = protobuf_codec.encode(Answerer("m", "v"), "", [Output(half, False)], {"h": array})
    assert client.ModelInferResponse.FromString(payload.body).raw_output_contents == [bytes(4)]


def wrong(change: Any, *, as_raw: bool = True) -> tuple[int, str]:
    request = message([(X, raw.to_array(memoryview(bytes(8)), "FP32", 2).reshape(1, 2))], as_raw=as_raw)
    change(request)
    with pytest.raises(Problem) as caught:
        read_inputs(protobuf_codec.decode(request.SerializeToString()).inputs, [X])
    return caught.value.status, caught.value.error


def _extra_raw(request: Any) -> None:
    request.raw_input_contents.append(b"")


def _both(request: Any) -> None:
    request.inputs[0].contents.fp32_contents.append(1)


def _short(request: Any) -> None:
    request.raw_input_contents[0] = bytes(7)


def _other_field(request: Any) -> None:
    request.inputs[0].contents.int_contents.append(1)


def _half(request: Any) -> None:
    request.inputs[0].datatype = "FP16"


def _unknown(request: Any) -> None:
    request.inputs[0].datatype = "FP99"
    request.inputs[0].ClearField("contents")


def _too_few(request: Any) -> None:
    del request.inputs[0].contents.fp32_contents[0]


@pytest.mark.parametrize(
    ("change", "as_raw", "status", "sentence"),
    [
        (_extra_raw, True, 400, "There are 1 inputs, but 2 raw_input_contents"),
        (_both, True, 400, "Input 'x' has contents, and there are raw_input_contents"),
        (_short, True, 422, "Input 'x' has 7 bytes, but 2 x FP32 are 8"),
        (_other_field, False, 400, "belong into fp32_contents"),
        (_half, False, 400, "send it in raw_input_contents"),
        (_unknown, False, 422, "'FP99' is no datatype"),
        (_too_few, False, 422, "has 1 values, but its shape [1, 2] has 2"),
    ],
)
def test_contents_in_the_wrong_place_are_named(change: Any, as_raw: bool, status: int, sentence: str) -> None:
    found, error = wrong(change, as_raw=as_raw)
    assert (found, sentence in error) == (status, True), error


def test_a_string_has_to_be_utf_8() -> None:
    request = client.ModelInferRequest()
    request.inputs.add(name="s", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"\xff")
    with pytest.raises(Problem, match="Input 's' has a string that is not UTF-8"):
        protobuf_codec.decode(request.SerializeToString())


@given(st.binary(max_size=200))
def test_no_message_is_worse_than_refused(data: bytes) -> None:
    with contextlib.suppress(Problem):
        assert isinstance(protobuf_codec.decode(data), InferRequest)


def test_the_envelope_is_what_a_router_has_to_know() -> None:
    request = message([], as_raw=True)
    request.model_version = "ab12"
    request.parameters["user_id"].string_param = "42"
    request.parameters["priority"].int64_param = 3
    envelope = Envelope.FromString(request.SerializeToString())
    assert (envelope.model_name, envelope.model_version) == ("m", "ab12")
    assert envelope.parameters["user_id"].string_param == "42"
    assert envelope.parameters["priority"].string_param == ""
