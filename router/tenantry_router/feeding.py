"""Keeps the feeder process running beside the workers."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

logger = logging.getLogger(__name__)

FEEDER_FLAG = "--feeder"
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
"""Seconds before a feeder that has ended is started again; doubled while it keeps ending early."""


class Feeding:
    """A feeder process that is started again when it ends; a context manager.

    The feeder holds the reading end of a pipe: it ends when this process does, however that happens.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        """`arguments` are those of `python -m tenantry_router`."""
        self._command = [sys.executable, "-m", "tenantry_router", *arguments, FEEDER_FLAG]
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name="feeding", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        with self._starting:
            self._stopping.set()
            if self._process is not None:
                self._process.terminate()
        self._thread.join()

    def _keep_running(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            with self._starting:
                if self._stopping.is_set():
                    return
                process = self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)
            started = time.monotonic()
            code = process.wait()
            pause = _SHORTEST_PAUSE if time.monotonic() - started > _LONGEST_PAUSE else pause * 2
            if not self._stopping.is_set():
                logger.warning("the feeder ended with %d; starting another", code)
            self._stopping.wait(min(pause, _LONGEST_PAUSE))
