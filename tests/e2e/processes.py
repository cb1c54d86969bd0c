"""The processes of a pod, as this machine sees them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def of_pod(pod: dict[str, Any]) -> list[int]:
    """The numbers of all its processes but the one that holds its namespaces."""
    uid = pod["metadata"]["uid"]
    return [
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is_of(entry, uid)
    ]


def kill(pod: dict[str, Any]) -> None:
    """As the kernel does when memory runs out: nothing of it has time to say goodbye."""
    for process in of_pod(pod):
        with suppress(ProcessLookupError):  # it went with another
            os.kill(process, signal.SIGKILL)


@contextmanager
def stopped(pod: dict[str, Any]) -> Iterator[None]:
    """The pod is there and does nothing."""
    found = of_pod(pod)
    assert found, f"no process of {pod['metadata']['name']} is found"
    for process in found:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in found:
            os.kill(process, signal.SIGCONT)


def _is_of(entry: Path, uid: str) -> bool:
    try:
        within = uid in (entry / "cgroup").read_text()
        return within and (entry / "comm").read_text().strip() != "pause"
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has ended meanwhile
