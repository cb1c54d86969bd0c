"""A parent that keeps one worker process per listening socket alive.

The parent owns the sockets, one per worker, and a worker inherits its own: the kernel spreads connections
evenly, and those that queue at a worker that dies wait for the next one instead of being reset.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time

from tenantry_core.http import cells
from tenantry_core.http.signals import STOP_SIGNALS

logger = logging.getLogger(__name__)

_SOCKET_VARIABLE = "TENANTRY_WORKER_SOCKET"
_PARENT_VARIABLE = "TENANTRY_WORKER_PARENT"
_PR_SET_PDEATHSIG = 1
_QUICK_DEATH = 1.0
"""A worker that lived for less than so many seconds is started again only after as many."""


def inherited_socket() -> socket.socket:
    """The listening socket that the parent made for this worker, which from now on dies with it."""
    _die_with_parent(int(os.environ[_PARENT_VARIABLE]))
    return socket.socket(fileno=int(os.environ[_SOCKET_VARIABLE]))


def _die_with_parent(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the parent process is gone")


def supervise(sockets: list[socket.socket], *, grace: float) -> None:
    """Run a worker per socket until an exception (that of a signal) ends it; then stop them all.

    `grace` seconds later those that are still there are killed.
    """
    _Supervisor(sockets).run(grace)


class _Supervisor:
    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self._cells = cells.allocate(len(sockets))
        self._workers: dict[int, tuple[int, subprocess.Popen[bytes], float]] = {}

    def run(self, grace: float) -> None:
        try:
            for index in range(len(self._sockets)):
                self._start(index + 1)
            while True:
                self._replace_dead()
        finally:
            self._stop(grace)

    def _start(self, number: int) -> None:
        sock = self._sockets[number - 1]
        command = [sys.executable, *sys.orig_argv[1:], "--worker", str(number)]
        environment = os.environ | {
            _SOCKET_VARIABLE: str(sock.fileno()),
            _PARENT_VARIABLE: str(os.getpid()),
            cells.VARIABLE: f"{self._cells}:{number - 1}:{len(self._sockets)}",
        }
        process = subprocess.Popen(command, env=environment, pass_fds=[sock.fileno(), self._cells])
        self._workers[process.pid] = (number, process, time.monotonic())

    def _replace_dead(self) -> None:
        """Wait for a worker to end, and start its successor."""
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        if ended is None:
            return
        if ended.si_pid not in self._workers:  # an orphan: the first process of a container inherits them
            with contextlib.suppress(ChildProcessError):  # or a child of another thread, which was quicker
                os.waitpid(ended.si_pid, 0)
            return
        number, process, started = self._workers.pop(ended.si_pid)
        code = process.wait()
        logger.warning("worker %d ended with %d; starting another", number, code)
        if time.monotonic() - started < _QUICK_DEATH:
            time.sleep(_QUICK_DEATH)
        self._start(number)

    def _stop(self, grace: float) -> None:
        for stop_signal in STOP_SIGNALS:
            signal.signal(stop_signal, signal.SIG_IGN)
        for sock in self._sockets:
            sock.close()  # or connections would queue where nobody accepts any more
        for _, process, _ in self._workers.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace + 1.0
        for _, process, _ in self._workers.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
