"""The upstream side: requests as bytes over pooled keep-alive connections, answered by callback.

No task, future or timer is created for a request; a task exists only while a connection is opened.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

from tenantry_core.http.messages import Headers

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Failure(enum.Enum):
    """Why there is no answer, in the order of how far the request got."""

    CONNECT = "could not connect"
    """No connection within the connect timeout, or refused: the upstream has not seen the request."""
    UNANSWERED = "closed the connection before answering"
    """The connection ended before the first byte of an answer; the upstream may have begun the work."""
    BROKEN = "broke off its answer"
    """The connection ended within the answer."""
    MALFORMED = "answered with something that is not HTTP"
    """The bytes are not an HTTP/1.1 answer, or it is larger than MAX_ANSWER_BYTES."""


class UpstreamError(Exception):
    """There is no answer; `failure` says how far the request got, `address` which upstream it was."""

    def __init__(self, failure: Failure, address: str, detail: str = "") -> None:
        super().__init__(f"{address} {failure.value}" + (f": {detail}" if detail else ""))
        self.failure = failure
        self.address = address


class UpstreamResponse:
    """A whole answer; header names are lower case, in the order of arrival."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


OnDone = Callable[[UpstreamResponse | UpstreamError], None]


class Call:
    """One request on its way. `cancel()` drops it: its callback will not be called."""

    __slots__ = ("connection", "on_done", "pool", "request", "resent")

    def __init__(self, pool: Pool, request: bytes, on_done: OnDone) -> None:
        self.pool = pool
        self.request = request
        self.on_done: OnDone | None = on_done
        self.connection: _Connection | None = None
        self.resent = False

    def cancel(self) -> None:
        """Drop the request; the connection it is on is reset, so the upstream sees it and stops working.

        Does nothing after the callback or an earlier cancel.
        """
        if self.on_done is None:
            return
        self.on_done = None
        self.pool.in_flight -= 1
        if self.connection is not None:
            self.connection.reset()

    def finish(self, result: UpstreamResponse | UpstreamError) -> None:
        """Hand over the result, unless it was cancelled."""
        on_done = self.on_done
        if on_done is None:
            return
        self.on_done = None
        self.connection = None
        self.pool.in_flight -= 1
        on_done(result)


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._call: Call | None = None
        self._transport: Any = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._reused = False
        self._answering = False
        self._complete = False
        self._keep_alive = False
        self._malformed = ""
        self.idle_since = 0.0
        self.lost = False

    def start(self, call: Call) -> None:
        """Send `call` now; the connection is idle."""
        self._call = call
        call.connection = self
        self._answering = False
        self._complete = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: bytes | list[bytes] = b""
        self._size = 0
        self._transport.write(call.request)

    def reset(self) -> None:
        """Drop the connection with a TCP reset: a mere close would look like a client that half-closes."""
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._pool.remember(self)

    def data_received(self, data: bytes) -> None:
        if self._call is None:
            self._transport.abort()  # nothing was asked: whatever this is, it must not answer the next call
            return
        self._answering = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._malformed = str(error.__context__ or error)
            self._transport.abort()
            return
        if self._complete:
            self._hand_over(self._call)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._pool.forget(self)
        call, self._call = self._call, None
        if call is None or call.on_done is None:
            return
        if self._reused and not self._answering and not call.resent:
            call.resent = True
            call.connection = None
            self._pool.send_fresh(call)
            return
        failure = Failure.BROKEN if self._answering else Failure.UNANSWERED
        if self._malformed:
            failure = Failure.MALFORMED
        call.finish(UpstreamError(failure, self._pool.address, self._malformed or (str(exc) if exc else "")))

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_ANSWER_BYTES:
            raise OverflowError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        if not self._body:
            self._body = body
        elif isinstance(self._body, bytes):
            self._body = [self._body, body]
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._complete:
            raise ValueError("two answers to one request")
        if self._parser.get_status_code() < 200:  # an interim answer; the final one follows
            self._headers = []
            return
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()  # the parser forgets it after this callback

    def _hand_over(self, call: Call) -> None:
        """Outside the parser's callbacks, where the caller's own errors would be taken for the upstream's."""
        self._call = None
        body = self._body if isinstance(self._body, bytes) else b"".join(self._body)
        response = UpstreamResponse(self._parser.get_status_code(), self._headers, body)
        self._reused = True
        if self._keep_alive:
            self._pool.release(self)
        else:
            self._transport.close()
        call.finish(response)


class Pool:
    """Keep-alive connections to one upstream, used by one event loop.

    A request goes out on an idle connection, else on a new one while there are fewer than
    `max_connections`, else it waits for its turn. A *reused* connection that ends before the first byte of
    the answer lost the race with the upstream's idle timeout: the request is sent once more, on a fresh
    connection, without the caller noticing. Requests must therefore be safe to repeat.
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
        self._loop = asyncio.get_running_loop()
        self._idle: deque[_Connection] = deque()
        self._connections: set[_Connection] = set()
        self._opening = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[Call] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def send(self, request: bytes, on_done: OnDone) -> Call:
        """Send one whole request (head and body); `on_done` gets the answer or the error, exactly once.

        `on_done` is never called from within `send`.
        """
        call = Call(self, request, on_done)
        self.in_flight += 1
        if self._idle:
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

    def release(self, connection: _Connection) -> None:
        """`connection` has its whole answer and can take the next request."""
        while self._waiting:
            call = self._waiting.popleft()
            if call.on_done is not None:
                connection.start(call)
                return
        if self._closed:
            connection.close()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._idle_timeout, self._close_idle)

    def remember(self, connection: _Connection) -> None:
        """`connection` is open."""
        self._connections.add(connection)

    def forget(self, connection: _Connection) -> None:
        """`connection` has ended."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._connect_if_needed()

    def _close_idle(self) -> None:
        """Close what was not used for the idle timeout; the oldest are on the left."""
        self._sweep = None
        now = self._loop.time()
        while self._idle and now - self._idle[0].idle_since >= self._idle_timeout:
            self._idle.popleft().close()
        if self._idle:
            delay = self._idle[0].idle_since + self._idle_timeout - now
            self._sweep = self._loop.call_later(delay, self._close_idle)

    def _connect_if_needed(self) -> None:
        if (
            self._opening < len(self._waiting)
            and len(self._connections) + self._opening < self._max_connections
        ):
            self._opening += 1
            task = self._loop.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        connection = _Connection(self)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._loop.create_connection(lambda: connection, self._host, self._port)
            problem = "closed at once" if connection.lost else ""
        except (OSError, TimeoutError) as error:
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
