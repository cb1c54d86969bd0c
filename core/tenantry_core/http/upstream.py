"""A request to an upstream, and what can come of it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

from tenantry_core.http.heads import Head
from tenantry_core.http.messages import Headers

if TYPE_CHECKING:
    from tenantry_core.http.client import Pool
    from tenantry_core.http.upstream_connection import UpstreamConnection

MAX_ANSWER_BYTES = 64 * 1024 * 1024


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
    """A whole answer; header names are lower case, in the order of arrival. `head` is as a `Request`'s."""

    __slots__ = ("body", "head", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes, head: Head | None = None) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.head = head


OnDone = Callable[[UpstreamResponse | UpstreamError], None]


class Call:
    """One request on its way. `cancel()` drops it: its callback will not be called."""

    __slots__ = ("connection", "on_done", "pool", "request", "resent")

    def __init__(self, pool: Pool, request: bytes, on_done: OnDone) -> None:
        self.pool = pool
        self.request = request
        self.on_done: OnDone | None = on_done
        self.connection: UpstreamConnection | None = None
        self.resent = False

    def cancel(self) -> None:
        """Drop the request. Unless others share the connection it is reset, so that the upstream stops.

        Does nothing after the callback or an earlier cancel.
        """
        if self.on_done is None:
            return
        self.on_done = None
        self.request = b""  # one that waits for a connection is left in the queue: its body need not be
        self.pool.in_flight -= 1
        if self.connection is not None:
            self.connection.drop()

    def finish(self, result: UpstreamResponse | UpstreamError) -> None:
        """Hand over the result, unless it was cancelled."""
        on_done = self.on_done
        if on_done is None:
            return
        self.on_done = None
        self.connection = None
        self.pool.in_flight -= 1
        on_done(result)
