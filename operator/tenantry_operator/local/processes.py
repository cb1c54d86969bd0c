"""Child processes that never outlive this one, and the pace at which fallen ones are started again."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1
_LOG_BYTES = 8 * 1024 * 1024
_LIBC = ctypes.CDLL(None, use_errno=True)


def free_port() -> int:
    """A port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


async def spawn(command: Sequence[str], log: Path) -> asyncio.subprocess.Process:
    """Start a child whose output is appended to `log`. Call it in the main thread.

    The kernel kills the child when this process ends, however it ends. It leads a group of its own, so
    that Ctrl-C in the terminal reaches this process alone, which then stops its children in order.
    """
    with _open_log(log) as output:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            process_group=0,
            preexec_fn=functools.partial(_die_with, os.getpid()),
        )


async def terminate(process: asyncio.subprocess.Process, grace: float) -> None:
    """Ask the child to end, and after `grace` seconds end it and what it started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            # Not wait_for: in Python 3.11 it loses a cancellation that comes together with the end.
            async with asyncio.timeout(grace):
                await process.wait()
        except TimeoutError:
            kill_group(process.pid)
            await process.wait()
    kill_group(process.pid)


def kill_group(leader: int) -> None:
    """End what is left of a child's group: its own workers must not stay behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


class Backoff:
    """How long to wait before starting again what fell: not at all the first time, then ever longer."""

    FIRST, LONGEST, FORGIVEN = 0.25, 5.0, 20.0
    """Seconds. Who ran for FORGIVEN seconds is started again at once."""

    def __init__(self) -> None:
        self._failures = 0
        self._started = time.monotonic()

    def started(self) -> None:
        self._started = time.monotonic()

    def fell(self) -> float:
        """Seconds to wait before the next start."""
        if time.monotonic() - self._started >= self.FORGIVEN:
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            return 0.0
        return float(min(self.FIRST * 2.0 ** (self._failures - 2), self.LONGEST))


def _die_with(parent: int) -> None:
    """Runs in the child, between fork and exec."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def _open_log(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    return log.open("ab")
