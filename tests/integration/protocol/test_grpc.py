"""The gRPC port as grpcio's own tools see it: typed contents, metadata, limits, health, reflection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2 as oip
from tritonclient.grpc import service_pb2_grpc

from integration.protocol.conftest import Served

SERVICE = "inference.GRPCInferenceService"
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def channel(served: Served) -> Iterator[Any]:
    with grpc.insecure_channel(served.grpc) as channel:
        yield channel


@pytest.fixture
def stub(channel: Any) -> Any:
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(model: str = "acme", values: tuple[float, ...] = (1, 1)) -> Any:
    message = oip.ModelInferRequest(model_name=model)
    given = message.inputs.add(name="input", datatype="FP32", shape=[len(values) // 2, 2])
    given.contents.fp32_contents.extend(values)
    return message


def test_typed_contents_are_answered_by_typed_contents(stub: Any) -> None:
    answer = stub.ModelInfer(request(values=(1, 1, 2, 3)))
    assert list(answer.outputs[0].contents.fp32_contents) == [3, 8]
    assert list(answer.outputs[0].shape) == [2, 1]
    assert not answer.raw_output_contents


def test_an_answer_tells_how_it_came_about(stub: Any) -> None:
    _, call = stub.ModelInfer.with_call(request())
    told = dict(call.trailing_metadata())
    assert "slot=default-0; model=models.acme" in told["tenantry-route"]
    assert "predict;dur=" in told["server-timing"]


def test_a_refusal_tells_its_reason_and_when_to_ask_again(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request("new"))
    told = dict(caught.value.trailing_metadata())
    assert told["tenantry-reason"] == "FirstLoad"
    assert int(told["retry-after"]) >= 1
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request(values=()))
    told = dict(caught.value.trailing_metadata())
    assert told["tenantry-reason"] == "InputMismatch"
    assert "slot=default-0" in told["tenantry-route"]


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xff"])
def test_what_is_no_message_is_told_so(channel: Any, body: bytes) -> None:
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        call(body)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "The message is no ModelInferRequest."


def test_a_message_may_have_ten_megabytes(stub: Any) -> None:
    message = oip.ModelInferRequest(model_name="acme")
    rows = 1_000_000
    message.inputs.add(name="input", datatype="FP32", shape=[rows, 2])
    message.raw_input_contents.append(bytes(rows * 8))
    assert len(stub.ModelInfer(message).raw_output_contents[0]) == rows * 4
    message.raw_input_contents[0] += bytes(3 * 1024 * 1024)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(message)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_health_is_told_for_the_server_and_for_the_service(channel: Any) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE):
        assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING


def test_reflection_describes_the_service_to_who_has_no_file(channel: Any) -> None:
    told = ProtoReflectionDescriptorDatabase(channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(told.get_services())
    service = DescriptorPool(told).FindServiceByName(SERVICE)
    fields = service.methods_by_name["ModelInfer"].input_type.fields_by_name
    theirs = oip.ModelInferRequest.DESCRIPTOR.fields_by_name
    assert {name: field.number for name, field in fields.items()} == {
        name: field.number for name, field in theirs.items()
    }


def test_every_message_is_the_clients_own(channel: Any) -> None:
    """The protocol's file is written anew here, so that names and numbers are compared with a client's."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service = pool.FindServiceByName(SERVICE)
    for method in service.methods:
        theirs = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[method.name]
        for ours, other in ((method.input_type, theirs.input_type), (method.output_type, theirs.output_type)):
            assert _shape(ours).items() <= _shape(other).items(), method.name


def _shape(message: Any) -> dict[str, Any]:
    return {
        f"{message.full_name}.{field.name}": (field.number, field.type, field.is_repeated)
        for field in message.fields
    } | {key: value for nested in message.nested_types for key, value in _shape(nested).items()}
