"""One request of a connection and its answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from tenantry_core.http.encoding import CLOSE, FAILED, encode, problem_response
from tenantry_core.http.messages import Handler, Headers, Request, Response
from tenantry_core.problems import Problem

if TYPE_CHECKING:
    from tenantry_core.http.heads import Head
    from tenantry_core.http.protocol import HotProtocol

logger = logging.getLogger(__name__)


class Exchange(Request):
    """Request and `Reply` in one object, for each object costs; keeps the answer until its turn comes."""

    __slots__ = ("connection", "data", "handler", "on_disconnect", "persistence")

    def __init__(
        self,
        method: bytes,
        path: bytes,
        query: bytes,
        headers: Headers,
        body: bytes,
        received: float,
        persistence: bytes,
        head: Head | None = None,
    ) -> None:
        # Request.__init__ would only do the first half of this, at the price of another call.
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.received = received
        self.head = head
        self.persistence = persistence
        """The Connection field of the answer."""
        self.data: bytes | None = None
        """The encoded answer; empty when FastAPI has written it itself."""
        self.on_disconnect: Callable[[], None] | None = None
        self.connection: HotProtocol | None = None
        self.handler: Handler | None = None
        """None: FastAPI answers."""

    @classmethod
    def refusal(cls, problem: Problem) -> Exchange:
        """The answer to something that is no request; the last one of its connection."""
        exchange = cls(b"", b"", b"", (), b"", 0.0, CLOSE)
        exchange.data = encode(problem_response(problem), CLOSE)
        return exchange

    def start(self, handler: Handler) -> None:
        """Have the request answered."""
        try:
            handler(self, self)
        except Problem as problem:
            self._fail(problem)
        except Exception:  # whatever a handler gets wrong must cost this one request, not the connection
            logger.exception("%s %s failed", self.method, self.path)
            self._fail(FAILED)

    def send(self, response: Response) -> None:
        """Answer; see `Reply`."""
        connection = self.connection
        if connection is None:
            return
        if self.data is not None:
            raise RuntimeError("this request has been answered already")
        persistence = connection.last_persistence(self) if connection.stopping else self.persistence
        try:
            self.data = encode(response, persistence, self.method == b"HEAD")
        except (ValueError, KeyError):
            logger.exception("the answer to %s is not valid HTTP", self.path)
            self.data = encode(problem_response(FAILED), persistence)
        self.on_disconnect = None
        connection.answered(self)

    def _fail(self, problem: Problem) -> None:
        if self.data is None:
            self.send(problem_response(problem))

    def disconnect(self) -> None:
        """The client is gone: drop the work."""
        self.connection = None
        on_disconnect, self.on_disconnect = self.on_disconnect, None
        if on_disconnect is not None and self.data is None:
            on_disconnect()
