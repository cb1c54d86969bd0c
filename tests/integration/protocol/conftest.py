"""A router with a gRPC port before a real predictor, and models that show what went in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.graphs import digest, linear
from cluster.ports import LOOPBACK, free_ports
from integration.protocol.graphs import KINDS, arithmetic, echo
from integration.router.processes import ServerProcess, address, entry, start_router, write_snapshot
from tenantry_core.slices import Entry, Reference, Target, Traffic, Unavailable
from tenantry_core.values import DATATYPES, AnyArray

SLOT = "default-0"


@dataclass
class Served:
    router: ServerProcess
    predictor: ServerProcess
    grpc: str
    """`host:port`."""
    versions: dict[str, str]
    """Digests by model name."""

    @property
    def http(self) -> str:
        return self.router.url.removeprefix("http://")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("protocol")
    models = folder / "models"
    models.mkdir()
    graphs = {"acme": linear((1.0, 2.0), columns=("a", "b")), "echo": echo(), "pair": arithmetic()}
    entries = [_entry(models, f"models.{name}", data) for name, data in graphs.items()]
    entries += [_entry(models, f"{namespace}.twin", graphs["acme"]) for namespace in ("blue", "green")]
    entries += [_entry(models, "models.hasty", graphs["acme"], traffic=Traffic(timeout_milliseconds=5000))]
    entries += [
        entry(
            "models.new", (), targets=(), unavailable=Unavailable("FirstLoad", "its artifact is being read.")
        ),
        entry("models.stranded", ("gone-0",), pool="gone"),
        entry("models.personal", (SLOT,), uri=f"file://{models}/{{user_id}}.onnx"),
    ]
    for user in ("1", "2"):
        (models / f"{user}.onnx").write_bytes(linear((float(user), 0.0)))
    [grpc_port] = free_ports(1)
    with ExitStack() as stack:
        predictor = stack.enter_context(_start_predictor(folder))
        snapshot = write_snapshot(folder / "snapshot", entries, [address(SLOT, predictor.port)])
        router = stack.enter_context(start_router(snapshot.path, "--grpc-port", str(grpc_port)))
        versions = {name: digest(data) for name, data in graphs.items()}
        yield Served(router, predictor, f"{LOOPBACK}:{grpc_port}", versions)


@pytest.fixture
def arrays() -> dict[str, AnyArray]:
    """Two rows for each input of the model `echo`, at the edges of each datatype."""
    return {f"in_{name}": _edges(name) for name in KINDS}


def _edges(datatype: str) -> AnyArray:
    dtype = DATATYPES[datatype]
    if datatype == "BYTES":
        return np.array([["", "a"], ["Grüße", "\u2603" * 300]], np.object_)
    if dtype.kind == "b":
        return np.array([[True, False], [False, True]])
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[limits.min, limits.max], [0, 1]], dtype)


def _entry(models: Path, key: str, data: bytes, **fields: Any) -> Entry:
    path = models / f"{key}.onnx"
    path.write_bytes(data)
    target = Target(Reference(f"file://{path}", "onnx", digest(data)), (SLOT,))
    return entry(key, (SLOT,), targets=(target,), **fields)


def _start_predictor(folder: Path) -> ServerProcess:
    [port] = free_ports(1)
    command = [
        *("-m", "tenantry_predictor", "--slot", SLOT, "--port", str(port), "--ready-after", "0"),
        *("--cache-dir", str(folder / "cache"), "--prefix", f"file://{folder}/models/"),
    ]
    return ServerProcess(command, port, folder / "predictor.log", {})
