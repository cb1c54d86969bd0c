"""One request of a connection and its answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from tenantry_core.http.encoding import FAILED, encode, problem_response
from tenantry_core.http.messages import Handler, Request, Response
from tenantry_core.problems import Problem

if TYPE_CHECKING:
    from tenantry_core.http.protocol import HotProtocol

logger = logging.getLogger(__name__)


class Exchange:
    """A `Reply`: keeps the encoded answer until its turn in the pipeline."""

    __slots__ = ("connection", "data", "handler", "on_disconnect", "persistence", "request", "started")

    def __init__(
        self, connection: HotProtocol, request: Request, handler: Handler | None, persistence: bytes
    ) -> None:
        self.connection: HotProtocol | None = connection
        self.request = request
        self.handler = handler
        """None: FastAPI answers."""
        self.persistence = persistence
        """The Connection field of the answer."""
        self.data: bytes | None = None
        self.started = False
        self.on_disconnect: Callable[[], None] | None = None

    def start(self, handler: Handler) -> None:
        """Have the request answered."""
        self.started = True
        try:
            handler(self.request, self)
        except Problem as problem:
            self._fail(problem)
        except Exception:  # whatever a handler gets wrong must cost this one request, not the connection
            logger.exception("%s %s failed", self.request.method, self.request.path)
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
            self.data = encode(response, persistence, self.request.method == b"HEAD")
        except (ValueError, KeyError):
            logger.exception("the answer to %s is not valid HTTP", self.request.path)
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
