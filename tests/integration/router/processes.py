"""Real router and upstream processes, and the snapshot folders that they are told about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from cluster.ports import LOOPBACK, free_ports
from tenantry_core.slices import Entry, Reference, SliceContent, Target
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder

http = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), verify=False, timeout=20.0)
"""A new connection for every request. (`httpx.get` would read all certificates of the machine as well.)"""

_UPSTREAM = Path(__file__).with_name("upstream.py")
_START_SECONDS = 120.0


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """How long it took, in seconds. Fails the test when it does not come true in time."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - start


class ServerProcess:
    """A Python program that serves HTTP on a port of its own; killed at the end."""

    def __init__(
        self, command: Sequence[str], port: int, log: Path, environment: dict[str, str], host: str = LOOPBACK
    ) -> None:
        self.command = [sys.executable, *command]
        self.port = port
        self.url = f"http://{host}:{port}"
        self.log = log
        self._environment = os.environ | environment
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self.wait()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._environment
            )
        try:
            wait_until(self.is_live, _START_SECONDS, f"{self.command} serves; its log: {self.log}")
        except AssertionError:
            self.kill()
            raise

    def is_live(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return http.get(f"{self.url}/v2/health/live", timeout=1.0).status_code == 200
        except httpx.TransportError:
            return False

    def is_running(self) -> bool:
        assert self.process is not None
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        if self.is_running():
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash does."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        assert self.process is not None
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def start_upstream(slot: str, folder: Path, host: str = LOOPBACK) -> ServerProcess:
    port = free_ports(1)[0]
    return ServerProcess([str(_UPSTREAM), slot, host, str(port)], port, folder / f"{slot}.log", {}, host)


def start_router(snapshot: Path, *arguments: str, environment: dict[str, str] | None = None) -> ServerProcess:
    port = free_ports(1)[0]
    command = ["-m", "tenantry_router", "--snapshot", str(snapshot), "--port", str(port), *arguments]
    return ServerProcess(command, port, snapshot.with_name(f"router-{port}.log"), environment or {})


def address(slot: str, port: int, *, pool: str = "default", ready: bool = True) -> SlotAddress:
    return SlotAddress(slot, pool, LOOPBACK, {"http": port}, ready)


def entry(model: str, slots: Sequence[str], *, uri: str = "", version: str = "a", **fields: Any) -> Entry:
    """A routed model, by default of the tenant that is named like it."""
    name = model.partition(".")[2]
    target = Target(
        Reference(uri or f"s3://models/{name}.onnx", "onnx", "" if "{" in uri else version * 64), tuple(slots)
    )
    values: dict[str, Any] = {
        "uid": f"uid-{model}",
        "created": "2026-01-01T00:00:00Z",
        "revision": 1,
        "tenant": name,
        "pool": "default",
        "targets": (target,),
    }
    return Entry(model=model, **(values | fields))


def write_snapshot(
    path: Path, entries: Sequence[Entry], addresses: Sequence[SlotAddress], name: str = "placement-0-0"
) -> SnapshotFolder:
    folder = SnapshotFolder(path)
    folder.write_addresses(AddressBook(tuple(addresses)))
    folder.write_slice(name, SliceContent(tuple(entries)))
    return folder
