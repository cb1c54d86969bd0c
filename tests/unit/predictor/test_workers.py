"""Worker processes whose fork server dies before them."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.waiting import wait_for
from tenantry_predictor.runtimes.workers import ForkServer, WorkerDied

_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def inherits_orphans() -> Iterator[None]:
    """This process takes over orphans as the first process of a container does."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    yield
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)


@pytest.mark.usefixtures("inherits_orphans")
def test_a_worker_of_a_dead_server_leaves_no_zombie() -> None:
    server = ForkServer(memory_bytes=1 << 30)
    worker = server.worker()
    os.kill(_parent(worker.pid), signal.SIGKILL)
    wait_for(lambda: _parent(worker.pid) == os.getpid(), 60.0, "the worker is this process's")
    with pytest.raises(WorkerDied):
        worker.request(b"", seconds=30.0)
    assert not Path(f"/proc/{worker.pid}").exists()
    server.close()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
