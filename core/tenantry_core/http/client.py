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

import httptools

from tenantry_core.http.messages import Headers

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_NO_LINGER = struct.pack("ii", 1, 0)


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

    __slots__ = ("_connection", "_on_done", "_pool", "_request", "_retried")

    def __init__(self, pool: Pool, request: bytes, on_done: OnDone) -> None:
        self._pool = pool
        self._request = request
        self._on_done: OnDone | None = on_done
        self._connection: _Connection | None = None
        self._retried = False

    def cancel(self) -> None:
        """Drop the request; the connection it is on is reset, so the upstream sees it and stops working.

        Does nothing after the callback or an earlier cancel.
        """
        raise NotImplementedError


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
        raise NotImplementedError

    def send(self, request: bytes, on_done: OnDone) -> Call:
        """Send one whole request (head and body); `on_done` gets the answer or the error, exactly once.

        `on_done` is never called from within `send`.
        """
        raise NotImplementedError

    @property
    def in_flight(self) -> int:
        """Requests sent or waiting, not yet answered."""
        raise NotImplementedError

    def close(self) -> None:
        """Close idle connections now and busy ones after their answer; waiting requests are still sent."""
        raise NotImplementedError
