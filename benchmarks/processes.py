"""The processes that a benchmark starts, and what they cost."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def require(*programs: str) -> None:
    """Exit with a sentence that names the packages to install. Packages are called like their programs."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        sys.exit(f"Please install {' and '.join(missing)} first (apt-get install {' '.join(missing)}).")


@contextlib.contextmanager
def running(command: list[str], port: int, *, core: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The command, on one core if `core` names one, from when its port listens to the end of the block."""
    process = subprocess.Popen([*pinned(core), *command])
    try:
        _wait_for_port(process, port)
        yield process
    finally:
        process.terminate()
        process.wait()


def pinned(core: int | None) -> list[str]:
    """A prefix of a command: 0 is the first core, -1 the last; nothing where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if core is None or len(cores) == 1 or shutil.which("taskset") is None:
        return []
    return ["taskset", "-c", str(cores[core])]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{process.args!r} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    sys.exit(f"{process.args!r} does not listen on port {port}")
