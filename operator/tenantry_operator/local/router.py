"""The router as a process that is started again when it falls."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

from tenantry_operator.local.directory import StateDirectory
from tenantry_operator.local.processes import LOOPBACK, Backoff, kill_group, spawn, terminate

logger = logging.getLogger(__name__)

STOP_GRACE = 15.0
"""Seconds that requests in flight have to finish."""


class RouterProcess:
    """Keeps the router running on its ports until it is stopped."""

    def __init__(
        self, directory: StateDirectory, port: int, grpc_port: int, on_pid: Callable[[], None]
    ) -> None:
        self._directory = directory
        self._port = port
        self._grpc_port = grpc_port
        self._on_pid = on_pid
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def run(self) -> None:
        """Start it, and again whenever it ends; returns after `stop`."""
        command = [
            *(sys.executable, "-m", "tenantry_router", "--snapshot", str(self._directory.router)),
            *("--host", LOOPBACK, "--port", str(self._port), "--token-file", str(self._directory.token)),
            *("--grpc-port", str(self._grpc_port)),
        ]
        backoff = Backoff()
        while not self._stopping:
            backoff.started()
            self._process = await spawn(command, self._directory.log("router"))
            self._on_pid()
            code = await self._process.wait()
            kill_group(self._process.pid)
            if not self._stopping:
                delay = backoff.fell()
                logger.warning("the router ended with %s; it starts again after %.1f s", code, delay)
                await asyncio.sleep(delay)

    async def stop(self) -> None:
        self._stopping = True
        if self._process is not None:
            await terminate(self._process, STOP_GRACE)
