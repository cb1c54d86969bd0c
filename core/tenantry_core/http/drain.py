"""Between the signal to end and the end: who has not heard of it yet is still served."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn

LONGEST = 25.0
"""Seconds after which it is over, however many requests still come."""
_TICK = 0.1


class Drain:
    """What the connections of a server know of its end."""

    __slots__ = ("begun", "last_answer", "quiet")

    def __init__(self, quiet: float = 0.0) -> None:
        """`quiet`: seconds without a request after which nobody is expected any more."""
        self.quiet = quiet
        self.begun = False
        """From now on the next answer of each connection is its last one: clients come back elsewhere."""
        self.last_answer = 0.0
        """To a request for a hot route (health checks go on to the end), in the event loop's time."""


class DrainingServer(uvicorn.Server):
    """Goes on accepting after SIGTERM: kube-proxy, load balancers and routers hear of it a little later."""

    def __init__(self, config: uvicorn.Config, drain: Drain, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain
        self._on_stop = on_stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        if self._drain.quiet:
            await self._linger()
        await super().shutdown(sockets)

    async def _linger(self) -> None:
        drain, time = self._drain, asyncio.get_running_loop().time
        drain.begun, drain.last_answer = True, time()
        for connection in self.server_state.connections:
            connection.stopping = True  # type: ignore[union-attr] # they are all of our class
        latest = time() + LONGEST
        while not self.force_exit and time() < min(latest, drain.last_answer + drain.quiet):  # noqa: ASYNC110 # no event tells of an answer
            await asyncio.sleep(_TICK)
