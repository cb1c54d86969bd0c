"""A request and its reply as the hot routes see them, whichever transport carried them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from tenantry_core.http.heads import Head

Headers = Sequence[tuple[bytes, bytes]]


class Request:
    """A whole request: the body has arrived and is within the limits.

    `path` and `query` are the raw bytes of the request target (not percent-decoded); header names are
    lower case, in the order of arrival. `received` is the loop's time, in seconds, of the request line.
    `head` keeps what is derived from the headers for the next request that has the same; None: nobody does.
    """

    __slots__ = ("body", "head", "headers", "method", "path", "query", "received")

    def __init__(
        self, method: bytes, path: bytes, query: bytes, headers: Headers, body: bytes, received: float
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.received = received
        self.head: Head | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first field called `name` (lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Response(NamedTuple):
    """Status, fields without Content-Length and Connection (the transport's business), body."""

    status: int
    headers: Headers
    body: bytes
    lines: bytes = b""
    """The headers once more, as `encoding.field_lines` writes them, from a sender that has them ready."""


class Payload(NamedTuple):
    """A body, and the fields that say what it is."""

    headers: Headers
    body: bytes


class Reply(Protocol):
    """Where a handler puts its one answer, now or later, from the event loop's thread."""

    on_disconnect: Callable[[], None] | None
    """Set by a handler that waits: called once if the client goes away first, so the work is dropped."""

    def send(self, response: Response) -> None:
        """Answer. After a disconnect this does nothing; a second call is a programming error."""
        ...


Handler = Callable[[Request, Reply], None]
"""Answers a request through its reply. A `Problem` that it raises is rendered; it must not block."""


class HotRoutes(Protocol):
    """Which requests are answered without a framework."""

    def match(self, method: bytes, path: bytes) -> Handler | None:
        """The handler of a hot route, or None: then FastAPI answers."""
        ...
