"""What the process may take of the machine's memory at all: a model that asks for more is refused.

Without a limit the kernel gives what is asked for, and ends the process when it is used. With one, the
allocation fails, which ONNX Runtime and Python report as an error of the request or the load that made it.
"""

from __future__ import annotations

import logging
import resource
import threading
from pathlib import Path

logger = logging.getLogger(__name__)

_CGROUP_FILES = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # before version 2
)
_ROOM_BYTES = 1 << 30
"""Beside the models that are kept: for what predictions and loads take while they run."""
_STACK_BYTES = 2 << 20
"""Of a thread. It counts as taken, though hardly any of it is used..."""
_THREADS = 64
"""...so as many are not counted: those that fetch while many models are cold."""


def limit_memory(cache_bytes: int) -> None:
    """Let the process grow by twice the budget of warm models and a gigabyte, if its container has that much.

    Processes that it starts inherit the limit; they may lift it, as theirs is another (`fork_server`).
    """
    threading.stack_size(_STACK_BYTES)
    taken, resident = _bytes_of("VmData"), _bytes_of("VmRSS")
    room = min([2 * cache_bytes + _ROOM_BYTES, *(limit - resident for limit in _container_limits())])
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = taken + room + _THREADS * _STACK_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    logger.debug("the process may grow by %d MiB", room >> 20)


def _container_limits() -> list[int]:
    texts = [file.read_text().strip() for file in _CGROUP_FILES if file.is_file()]
    return [int(text) for text in texts if text.isdigit()]


def _bytes_of(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"Linux tells {name}")
