"""The processes that a benchmark starts, and what they cost."""

from __future__ import annotations

import contextlib
import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path


class StartError(SystemExit):
    """A process ended, or does not listen: ends a benchmark that cannot do without it, with a sentence."""


def require(*programs: str) -> None:
    """Exit with a sentence that names the packages to install. Packages are called like their programs."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        sys.exit(f"Please install {' and '.join(missing)} first (apt-get install {' '.join(missing)}).")


@contextlib.contextmanager
def running(
    command: list[str], port: int, *, core: int | None = None, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The command, on one core if `core` names one, from when its port listens to the end of the block.

    What it says goes to `log`, without one to where the benchmark's own output goes.
    """
    with contextlib.nullcontext() if log is None else log.open("wb") as output:
        process = subprocess.Popen([*pinned(core), *command], stdout=output, stderr=output)
    try:
        _wait_for_port(process, command, port, log)
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


def move(pids: Iterable[int], *, core: int) -> None:
    """Have these processes, all threads of them, run on another core; see `pinned`."""
    cores = sorted(os.sched_getaffinity(0))
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {cores[core]})


def free_port() -> int:
    """Below those that are given to connections unasked: some servers take half a minute to listen."""
    for port in random.sample(range(10_000, 20_000), 1000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    sys.exit("There is no free port between 10000 and 20000.")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tree(pids: Iterable[int]) -> list[int]:
    """These processes and all below them."""
    found, waiting = [], list(pids)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                waiting += map(int, task.read_text().split())
    return found


def memory_bytes(pids: Iterable[int], line: str) -> int:
    """A line of `smaps_rollup`, of these processes and all below them together."""
    total = 0
    for pid in tree(pids):
        with contextlib.suppress(OSError):  # it ended meanwhile
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.partition(f"\n{line}:")[2].split()[0]) * 1024
    return total


def _wait_for_port(process: subprocess.Popen[bytes], command: list[str], port: int, log: Path | None) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = f":\n{log.read_text(errors='replace')[-2000:]}" if log else ""
            raise StartError(f"{shlex.join(command)} ended with {process.returncode}{said}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise StartError(f"{shlex.join(command)} does not listen on port {port}")
