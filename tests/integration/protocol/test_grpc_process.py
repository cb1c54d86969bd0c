"""A router's gRPC port before a stand-in: what reaches a slot, what is dropped, sharing a port, ending."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as oip
from tritonclient.grpc import service_pb2_grpc

from cluster.ports import LOOPBACK, free_ports
from integration.router.processes import (
    ServerProcess,
    address,
    entry,
    http,
    start_router,
    wait_until,
    write_snapshot,
)

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass
class World:
    standin: ServerProcess
    snapshot: Path
    router: ServerProcess
    target: str

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = http.get(f"{self.standin.url}/counts").json()
        return counts

    def wait_stalled(self) -> None:
        wait_until(lambda: self.counts()["stalled"] == 1, 60, "a request stalls")

    def wait_dropped(self, before: int) -> None:
        expected = {"stalled": 0, "dropped": before + 1}
        wait_until(lambda: self.counts() == expected, 60, "the slot is told that nobody waits")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        yield _start(stack, tmp_path_factory.mktemp("standin"))


def _start(stack: ExitStack, folder: Path, *arguments: str) -> World:
    port, grpc_port = free_ports(2)
    command = [str(Path(__file__).with_name("standin.py")), LOOPBACK, str(port)]
    standin = stack.enter_context(ServerProcess(command, port, folder / "standin.log", {}))
    snapshot = write_snapshot(
        folder / "snapshot", [entry("models.acme", ["default-0"])], [address("default-0", port)]
    )
    router = start_router(snapshot.path, "--grpc-port", str(grpc_port), *arguments)
    return World(standin, snapshot.path, stack.enter_context(router), f"{LOOPBACK}:{grpc_port}")


@pytest.fixture
def stub(world: World) -> Iterator[Any]:
    with grpc.insecure_channel(world.target) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(kind: str = "") -> Any:
    return oip.ModelInferRequest(model_name="acme", id=kind)


def test_a_slot_gets_what_it_needs_and_nothing_that_a_client_makes_up(stub: Any) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    metadata = [
        ("traceparent", trace),
        ("tenantry-user", "acme:7"),
        ("tenantry-artifact", "file:///etc/passwd"),
        ("tenantry-token", "guessed"),
        ("authorization", "secret"),
    ]
    fields = json.loads(stub.ModelInfer(request(), metadata=metadata, timeout=5).id)
    assert fields["line"] == f"POST /v2/models/models.acme/versions/{'a' * 64}/infer"
    assert fields["traceparent"] == trace
    assert fields["content-type"] == "application/x-protobuf"
    assert fields["tenantry-artifact"] == "s3://models/acme.onnx"
    assert not {"authorization", "tenantry-token", "tenantry-user"} & fields.keys()
    assert 0 < int(fields["tenantry-timeout"].removesuffix("ms")) <= 5000


def test_a_malformed_trace_is_left_out(stub: Any) -> None:
    fields = json.loads(stub.ModelInfer(request(), metadata=[("traceparent", "00-x; Tenantry-Token: y")]).id)
    assert "traceparent" not in fields


def test_work_past_the_deadline_is_dropped(world: World, stub: Any) -> None:
    before = world.counts()["dropped"]
    assert stub.ModelInfer(request()).id  # there are connections
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request("stall"), timeout=2.0)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    world.wait_dropped(before)


def test_work_that_nobody_waits_for_is_dropped(world: World, stub: Any) -> None:
    before = world.counts()["dropped"]
    call = stub.ModelInfer.future(request("stall"))
    world.wait_stalled()
    call.cancel()
    world.wait_dropped(before)


def test_a_router_that_is_told_to_end_is_unhealthy_answers_for_a_while_and_loses_no_call(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        world = _start(stack, tmp_path, "--drain", "3s")
        channel = stack.enter_context(grpc.insecure_channel(world.target))
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        call = stub.ModelInfer.future(request("stall"))
        world.wait_stalled()
        world.router.signal(signal.SIGTERM)
        asked = health_pb2.HealthCheckRequest()
        wait_until(lambda: health.Check(asked).status == NOT_SERVING, 60, "it is not healthy")
        assert not stub.ServerReady(oip.ServerReadyRequest()).ready
        assert stub.ModelInfer(request()).id
        wait_until(lambda: not _is_live(world), 60, "it has done with HTTP")
        http.get(f"{world.standin.url}/release")
        assert call.result(timeout=10).id
        world.router.wait()


def _is_live(world: World) -> bool:
    try:
        return http.get(f"{world.router.url}/v2/health/live").is_success
    except httpx.TransportError:
        return False


def test_workers_share_the_port(tmp_path: Path) -> None:
    with ExitStack() as stack:
        world = _start(stack, tmp_path, "--workers", "2")
        port = int(world.target.rpartition(":")[2])
        wait_until(lambda: _listeners(port) == 2, 60, "both workers listen")
        for _ in range(8):
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(world.target, options=options) as channel:
                assert service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request()).id


def _listeners(port: int) -> int:
    """Sockets of this machine that listen on the port."""
    tables = [Path(f"/proc/net/{table}").read_text() for table in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table.splitlines()[1:]]
    return sum(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in lines)


def test_a_port_that_is_taken_is_told_in_a_sentence(world: World) -> None:
    [port] = free_ports(1)
    taken = world.target.rpartition(":")[2]
    command = [sys.executable, "-m", "tenantry_router", "--snapshot", str(world.snapshot)]
    command += ["--port", str(port), "--grpc-port", taken]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith(f"Port {taken} of 127.0.0.1 is in use by another process.")


def test_a_router_without_the_port_does_without_grpc(tmp_path: Path) -> None:
    snapshot = write_snapshot(tmp_path / "snapshot", [], [])
    with start_router(snapshot.path) as router:
        assert "cygrpc" not in Path(f"/proc/{router.pid}/maps").read_text()
