"""Processes that hold one model each, forked from a warm server: the parent's side.

Opening model files and predicting with scikit-learn belong into a process of their own: they hold the
interpreter lock for long, and a file of an attacker may crash or hang them. Importing the libraries takes
seconds, so one *fork server* does it once; each model then gets a fork, which shares those pages and dies
alone.
Messages are msgpack of known shape: nothing a worker sends is unpickled.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tenantry_predictor.errors import LoadError

_LENGTH = struct.Struct("!Q")
_MOST_BYTES = 1 << 29
"""Of an answer: a worker that a model has taken over may announce anything."""
_START_SECONDS = 60.0
_KEPT_VARIABLES = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "TZ")
"""All that a worker's environment has of ours: credentials are not among them."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_spawner = ThreadPoolExecutor(1, thread_name_prefix="tenantry-spawn")
"""Linux signals a parent's death when the *thread* that forked ends, so one that stays does it."""


class WorkerDied(Exception):
    """The process ended in the midst of a request."""


class WorkerTimeout(Exception):
    """It took longer than allowed, and was killed."""


class Worker:
    """One forked process. Requests are one at a time: the caller sees to that."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)
        self._connection = connection

    def request(self, message: bytes, seconds: float) -> bytes:
        """The answer to a message. Raises WorkerDied and WorkerTimeout; the worker is gone after either."""
        deadline = time.monotonic() + seconds
        try:
            self._send(_LENGTH.pack(len(message)) + message, deadline)
            (length,) = _LENGTH.unpack(self._receive(_LENGTH.size, deadline))
            if length > _MOST_BYTES:
                raise ConnectionAbortedError("too long an answer")
            return self._receive(length, deadline)
        except OSError as error:
            self.kill()
            raise WorkerDied(f"process {self.pid} ended") from error
        except WorkerTimeout:
            self.kill()
            raise

    def private_bytes(self) -> int:
        """Memory that it does not share with the fork server; 0 when it is gone."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Private_Dirty:"):
                    return int(line.split()[1]) * 1024
        return 0

    def kill(self) -> None:
        """Idempotent."""
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            # It is our child where the fork server died before it and we are a container's first process.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self._handle, os.WEXITED)
            os.close(self._handle)
            self._handle = -1
            self._connection.close()

    def _send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._connection.settimeout(_left(deadline))
            with _timeouts():
                view = view[self._connection.send(view) :]

    def _receive(self, count: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._connection.settimeout(_left(deadline))
            with _timeouts():
                part = self._connection.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise ConnectionResetError("closed by the worker")
            parts += part
        return bytes(parts)


class ForkServer:
    """Starts workers. It starts itself at the first one, and again when it died."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        # Processes inherit the spawner's priority, and it the one of the thread that gives it its first task:
        # ours, and not a loader's, which is lower.
        _spawner.submit(int)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def worker(self) -> Worker:
        """A fresh worker, in milliseconds once the server is warm. Raises LoadError when there is none."""
        with self._lock:
            for _ in range(2):  # the second try is for a server that died since the last worker
                try:
                    return self._fork(self._connected())
                except OSError:
                    self._stop()
        raise LoadError("LoadFailed", "The process that opens model files does not start.")

    def start(self) -> None:
        """Start now what the first worker would wait for; does not wait for it. Raises OSError."""
        with self._lock:
            self._connected()

    def close(self) -> None:
        """Workers end with it."""
        with self._lock:
            self._stop()

    def _fork(self, control: socket.socket) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(control, [b"f"], [theirs.fileno()])
        if not select.select([control], [], [], _START_SECONDS)[0]:
            ours.close()
            raise TimeoutError("the fork server is silent")
        answer = control.recv(_LENGTH.size)
        if len(answer) < _LENGTH.size:
            ours.close()
            raise ConnectionResetError("the fork server ended")
        return Worker(_LENGTH.unpack(answer)[0], ours)

    def _connected(self) -> socket.socket:
        if self._control is None:
            ours, theirs = socket.socketpair()
            module = "tenantry_predictor.runtimes.fork_server"
            command = [sys.executable, "-m", module, str(theirs.fileno()), str(self._memory_bytes)]
            environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
            with theirs:
                self._process = _spawner.submit(
                    subprocess.Popen,
                    command,
                    env=environment | _ONE_THREAD,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                ).result()
            self._control = ours
        return self._control

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise WorkerTimeout
    return left


@contextlib.contextmanager
def _timeouts() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise WorkerTimeout from error
