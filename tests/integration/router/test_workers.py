"""Several worker processes behind one port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.router.processes import (
    ServerProcess,
    address,
    entry,
    http,
    start_router,
    start_upstream,
    wait_until,
    write_snapshot,
)


@pytest.fixture
def router(folder: Path) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        upstream = stack.enter_context(start_upstream("default-0", folder))
        snapshot = write_snapshot(
            folder / "snapshot", [entry("models.acme", ["default-0"])], [address("default-0", upstream.port)]
        )
        yield stack.enter_context(start_router(snapshot.path, "--workers", "2"))


def predict(router: ServerProcess) -> int:
    """Over a connection of its own, so that any worker may get it."""
    return http.post(f"{router.url}/predict/acme:1", json=[[1]]).status_code


def counted(router: ServerProcess) -> float:
    for line in http.get(f"{router.url}/metrics").text.splitlines():
        if line.startswith('tenantry_router_requests_total{status="200"}'):
            return float(line.rpartition(" ")[2])
    return 0.0


def workers(router: ServerProcess) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{router.pid}/task/{router.pid}/children").read_text().split()]


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_any_worker_answers_and_each_tells_the_sum_of_all(router: ServerProcess) -> None:
    wait_until(lambda: len(workers(router)) == 2, 60.0, "there are two")
    before = [cpu_ticks(pid) for pid in workers(router)]
    assert [predict(router) for _ in range(300)] == [200] * 300
    assert [counted(router) for _ in range(6)] == [300.0] * 6
    assert all(after > less for less, after in zip(before, map(cpu_ticks, workers(router)), strict=True))


def test_a_worker_that_is_killed_is_replaced(router: ServerProcess) -> None:
    killed = workers(router)[0]
    os.kill(killed, signal.SIGKILL)
    wait_until(
        lambda: killed not in workers(router) and len(workers(router)) == 2, 60.0, "there are two again"
    )
    assert [predict(router) for _ in range(20)] == [200] * 20


def test_a_port_that_is_taken_is_said_at_once(router: ServerProcess, folder: Path) -> None:
    command = [sys.executable, "-m", "tenantry_router", "--snapshot", str(folder / "other")]
    command += ["--port", str(router.port)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert second.returncode == 1
    assert str(router.port) in second.stderr
    assert "Traceback" not in second.stderr
