"""One child process: its log, its end, and that it never outlives the tests."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.errors import StartError

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Process:
    """A command that can be started, stopped and started again.

    `enter` is a command that leads into other namespaces and there becomes the command.
    Start it from a thread that lives as long as it shall: Linux ends it with the thread that started it.
    """

    def __init__(
        self, command: Sequence[str], log: Path, enter: Sequence[str] = (), **environment: str
    ) -> None:
        self._command = list(command)
        self._enter = list(enter)
        self._environment = os.environ | environment
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its number; only of one that was started."""
        assert self._child is not None
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there, be it paused."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Starts the command; its output is appended to the log."""
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal is for the tests, which then stop things in order.
            self._child = subprocess.Popen(
                self._enter + self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent(os.getpid()),
            )

    def stop(self) -> None:
        """Ends the process at once. Nothing here has state worth a graceful end, paused ones included."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def pause(self) -> None:
        """Lets the process hang: it keeps its connections and answers nothing."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Ends the pause."""
        self._send(signal.SIGCONT)

    def terminate(self) -> None:
        """Asks the process to end in its own time."""
        self._send(signal.SIGTERM)

    def wait_until(self, is_ready: Callable[[], bool], seconds: float) -> None:
        """Returns once the process is ready; else ends it and raises StartError with its last words."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if not self.is_running:
                raise StartError(self._describe("has ended"))
            if time.monotonic() > deadline:
                self.stop()
                raise StartError(self._describe(f"was not ready after {seconds:.0f} s"))
            time.sleep(0.05)

    def _send(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)

    def _describe(self, problem: str) -> str:
        last_lines = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
        return f"{Path(self._command[0]).name} {problem}; the end of its log:\n{last_lines}"


def _end_with_parent(parent: int) -> Callable[[], None] | None:
    """What the child does before it becomes the command: ask Linux to kill it when its parent is gone."""
    if sys.platform != "linux":
        return None

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have ended before that call, and then nothing would end the child.
        if os.getppid() != parent:
            os._exit(1)

    return prepare
