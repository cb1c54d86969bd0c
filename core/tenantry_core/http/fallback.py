"""Requests that are no hot routes: uvicorn's own protocol and FastAPI, one request at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tenantry_core.http.encoding import CLOSE, KEEP_ALIVE
from tenantry_core.http.messages import Request

# The body is whole and the connection is ours: these fields speak of neither any more.
_CONNECTION_FIELDS = frozenset(
    {b"connection", b"content-length", b"expect", b"keep-alive", b"transfer-encoding", b"upgrade"}
)


class Outlet(Protocol):
    """Where the inner protocol's bytes go: the real connection."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...

    def is_closing(self) -> bool: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any: ...


class _InnerTransport:
    """What uvicorn's protocol sees as its transport; it gets whole requests, so reading needs no pausing."""

    def __init__(self, outlet: Outlet) -> None:
        self.write = outlet.write
        self.close = outlet.close
        self.is_closing = outlet.is_closing
        self.get_extra_info = outlet.get_extra_info

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _InnerProtocol(HttpToolsProtocol):
    """Reports the end of an answer instead of starting a keep-alive timer of its own."""

    on_answered: Callable[[], None]

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self.on_answered()


class Fallback:
    """Lets FastAPI answer the requests of one connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        outlet: Outlet,
        on_answered: Callable[[], None],
    ) -> None:
        self._inner = _InnerProtocol(config, server_state, app_state)
        self._inner.on_answered = on_answered
        self._inner.connection_made(_InnerTransport(outlet))  # type: ignore[arg-type] # all of it that is used
        # The outer protocol is the one connection that uvicorn counts and shuts down.
        server_state.connections.discard(self._inner)

    def start(self, request: Request, persistence: bytes) -> None:
        """Let FastAPI answer; `on_answered` is called when the last byte has been written."""
        self._inner.data_received(_as_bytes(request, persistence))

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def disconnect(self, error: Exception | None) -> None:
        """The client is gone: applications that listen for it are told."""
        self._inner.connection_lost(error)


def _as_bytes(request: Request, persistence: bytes) -> bytes:
    target = request.path + (b"?" + request.query if request.query else b"")
    version = b"1.0" if persistence is KEEP_ALIVE else b"1.1"
    lines = [b"%b %b HTTP/%b\r\n" % (request.method, target, version)]
    for name, value in request.headers:
        if name not in _CONNECTION_FIELDS:
            lines += (name, b": ", value, b"\r\n")
    if request.body:
        lines.append(b"content-length: %d\r\n" % len(request.body))
    if persistence is CLOSE:
        lines.append(CLOSE)
    return b"".join((*lines, b"\r\n", request.body))
