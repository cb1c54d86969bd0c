"""The upstream side: requests as bytes over pooled keep-alive connections, answered by callback.

No task, future or timer is created for a request; a task exists only while a connection is opened.
"""

from __future__ import annotations

import asyncio
from collections import deque

from tenantry_core.http.upstream import Call, Failure, OnDone, UpstreamError, UpstreamResponse
from tenantry_core.http.upstream_connection import UpstreamConnection

__all__ = ["Call", "Failure", "OnDone", "Pool", "UpstreamError", "UpstreamResponse"]

SHARED_DEPTH = 64
"""Requests on their way over one shared connection; more than those go out on others."""


class Pool:
    """Keep-alive connections to one upstream, used by one event loop.

    A request goes out on an idle connection, else on a new one while there are fewer than
    `max_connections`, else it waits for its turn. Requests that the upstream answers at once may share one
    connection, one behind another (RFC 9112, 9.3.2): what is sent and what arrives in one iteration of the
    loop then costs one system call, however many they are.

    A *reused* connection that ends before the first byte of an answer lost the race with the upstream's idle
    timeout: the request is sent once more, on a fresh connection, without the caller noticing. Requests must
    therefore be safe to repeat.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        max_connections: int = 64,
        idle_timeout: float = 30.0,
        connect_timeout: float = 1.0,
    ) -> None:
        """Times in seconds. `idle_timeout` must be shorter than the upstream's own."""
        self.address = f"{host}:{port}"
        self.in_flight = 0
        """Requests sent or waiting, not yet answered."""
        self._host = host
        self._port = port
        self._max_connections = max_connections
        self._idle_timeout = idle_timeout
        self._connect_timeout = connect_timeout
        self.loop = asyncio.get_running_loop()
        self._idle: deque[UpstreamConnection] = deque()
        self._shared: UpstreamConnection | None = None
        self._connections: set[UpstreamConnection] = set()
        self._opening = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[Call] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def send(self, request: bytes, on_done: OnDone, *, share: bool = False) -> Call:
        """Send one whole request (head and body); `on_done` gets the answer or the error, exactly once.

        `on_done` is never called from within `send`. With `share` it may go out behind others.
        """
        call = Call(self, request, on_done)
        self.in_flight += 1
        shared = self._shared
        if share and shared is not None and len(shared.calls) < SHARED_DEPTH:
            shared.join(call)
        elif self._idle:
            if share and shared is None and self._max_connections > 1:  # or nothing else could go out
                self._shared = self._idle[-1]
            self._idle.pop().start(call)  # the last one used: the others can grow old and go
        else:
            self._waiting.append(call)
            self._connect_if_needed()
        return call

    def close(self) -> None:
        """Close idle connections now and busy ones after their answer; waiting requests are still sent."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        if self._shared is not None and not self._shared.calls:
            self._shared.close()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    # For connections

    def send_fresh(self, call: Call) -> None:
        """Send `call` before all that wait, on a connection that has never been used."""
        self._waiting.appendleft(call)
        # Older idle connections have most likely ended too: their peer is the same process.
        while self._idle:
            self._idle.pop().close()
        self._connect_if_needed()

    def release(self, connection: UpstreamConnection) -> None:
        """`connection` has all its answers and can take the next request."""
        if connection is self._shared and not self._closed:
            return
        while self._waiting:
            call = self._waiting.popleft()
            if call.on_done is not None:
                connection.start(call)
                return
        if self._closed:
            connection.close()
            return
        connection.idle_since = self.loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self.loop.call_later(self._idle_timeout, self._close_idle)

    def remember(self, connection: UpstreamConnection) -> None:
        """`connection` is open."""
        self._connections.add(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """`connection` has ended."""
        self._connections.discard(connection)
        if connection is self._shared:
            self._shared = None
        if connection in self._idle:
            self._idle.remove(connection)
        self._connect_if_needed()

    def _close_idle(self) -> None:
        """Close what was not used for the idle timeout; the oldest are on the left."""
        self._sweep = None
        now = self.loop.time()
        while self._idle and now - self._idle[0].idle_since >= self._idle_timeout:
            self._idle.popleft().close()
        if self._idle:
            delay = self._idle[0].idle_since + self._idle_timeout - now
            self._sweep = self.loop.call_later(delay, self._close_idle)

    def _connect_if_needed(self) -> None:
        if (
            self._opening < len(self._waiting)
            and len(self._connections) + self._opening < self._max_connections
        ):
            self._opening += 1
            task = self.loop.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        connection = UpstreamConnection(self)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self.loop.create_connection(lambda: connection, self._host, self._port)
            problem = "closed at once" if connection.lost else ""
        except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a host that is no name
            problem = str(error) or "timed out"
        self._opening -= 1
        if problem:
            self._fail_one(UpstreamError(Failure.CONNECT, self.address, problem))
            self._connect_if_needed()
        else:
            self.release(connection)

    def _fail_one(self, error: UpstreamError) -> None:
        """An attempt failed: the call that has waited longest pays for it, the others have attempts too."""
        while self._waiting:
            call = self._waiting.popleft()
            if call.on_done is not None:
                call.finish(error)
                return
