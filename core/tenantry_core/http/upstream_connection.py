"""One kept-alive connection to an upstream."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

import httptools

from tenantry_core.http.upstream import MAX_ANSWER_BYTES, Call, Failure, UpstreamError, UpstreamResponse

if TYPE_CHECKING:
    from tenantry_core.http.client import Pool

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class UpstreamConnection(asyncio.Protocol):
    """Carries at most one request at a time; belongs to a pool."""

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
