"""One kept-alive connection to an upstream."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools

from tenantry_core.http.heads import HEADS, Head, Memo, body_length
from tenantry_core.http.upstream import MAX_ANSWER_BYTES, Call, Failure, UpstreamError, UpstreamResponse

if TYPE_CHECKING:
    from tenantry_core.http.client import Pool

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
known_heads: Memo[Head] = Memo(HEADS)
"""Of answers 200, by all their bytes. Slots answer much alike: one memo serves all connections."""


class UpstreamConnection(asyncio.Protocol):
    """Carries one request at a time, or where it is shared several, answered in their order."""

    def __init__(self, pool: Pool, heads: Memo[Head] = known_heads) -> None:
        self._pool = pool
        self._heads = heads
        self._head_bytes: bytes | None = None
        """The head that is to be remembered if it is a usual one."""
        self.calls: deque[Call] = deque()
        """Sent and not yet answered, the oldest first; those that were cancelled are among them."""
        self._unsent: list[bytes] = []
        """Requests that go out together."""
        self._transport: Any = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._reused = False
        self._answering = False
        self._answers: list[UpstreamResponse] = []
        """Whole ones, on their way to their calls."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: bytes | list[bytes] = b""
        self._size = 0
        self._keep_alive = True
        self._malformed = ""
        self.idle_since = 0.0
        self.lost = False

    def start(self, call: Call) -> None:
        """Send `call` now; the connection is idle."""
        self.calls.append(call)
        call.connection = self
        self._transport.write(call.request)

    def join(self, call: Call) -> None:
        """Send `call` behind others, with all that join in this iteration of the loop.

        A system call costs more than all else that is done for a request, and uvloop makes one a write.
        """
        self.calls.append(call)
        call.connection = self
        unsent = self._unsent
        if not unsent:
            self._pool.loop.call_soon(self._send_joined)
        unsent.append(call.request)

    def _send_joined(self) -> None:
        """What is not sent because the connection has ended goes the way of all its calls."""
        unsent = self._unsent
        self._unsent = []
        if not self.lost:
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def drop(self) -> None:
        """A call was cancelled. Where nobody waits for an answer any more the connection is reset.

        A mere close would look like a client that half-closes: the upstream is to stop its work.
        """
        if any(call.on_done is not None for call in self.calls):
            return
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
        if not self.calls:
            self._transport.abort()  # nothing was asked: whatever this is, it must not answer the next call
            return
        if not self._answering:
            data = self._read_known(data)
        try:
            if data:
                self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._malformed = str(error.__context__ or error)
            self._answering = True
            self._answers.clear()  # where one thing is wrong, what came with it is not to be believed
            self._transport.abort()
        if self._answers:
            self._hand_over()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._pool.forget(self)
        answering = self._answering
        while self.calls:
            self._lose(self.calls.popleft(), answering, exc)
            answering = False

    def _lose(self, call: Call, answering: bool, exc: Exception | None) -> None:
        if call.on_done is None:
            return
        if self._reused and not answering and not call.resent:
            call.resent = True
            call.connection = None
            self._pool.send_fresh(call)
            return
        failure = Failure.BROKEN if answering else Failure.UNANSWERED
        if answering and self._malformed:
            failure = Failure.MALFORMED
        call.finish(UpstreamError(failure, self._pool.address, self._malformed or (str(exc) if exc else "")))

    def _read_known(self, data: bytes) -> bytes:
        """Take the answers at the start of `data` whose heads are known; the rest is for the parser.

        As in `RequestReader`: known is only what the parser has found in the same bytes.
        """
        start, end = 0, len(data)
        room = len(self.calls) if self._keep_alive else 0
        while len(self._answers) < room:
            body = data.find(b"\r\n\r\n", start) + 4
            key = data[start:body]
            head = self._heads.get(key)
            if head is None:
                if body > 3 and self._heads.is_wanted(key):
                    self._head_bytes = key
                break
            answer_end = body + head.length
            if answer_end > end:
                break
            self._answers.append(UpstreamResponse(200, head.headers, data[body:answer_end], head))
            start = answer_end
            if start == end:
                return b""
        return data[start:] if start else data

    def _remember(self, key: bytes) -> None:
        """The parser has read an answer whose head is `key`: know it from now on, if it is usual."""
        headers = tuple(self._headers)
        length = body_length(headers)
        lines = len(headers) + 2
        if length is None or length > MAX_ANSWER_BYTES:
            return
        if not _UNUSUAL.isdisjoint(name for name, _ in headers):
            return
        if key.count(b"\n") == key.count(b"\r\n") == lines:
            self._heads.put(key, Head(headers, length))

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._answering = True

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
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer; the final one follows
            self._headers = []
            self._head_bytes = None  # these bytes were the interim one's
            return
        if len(self._answers) == len(self.calls) or not self._keep_alive:
            raise ValueError("more answers than requests")
        body = self._body if isinstance(self._body, bytes) else b"".join(self._body)
        self._answers.append(UpstreamResponse(status, self._headers, body))
        self._keep_alive = self._parser.should_keep_alive()  # the parser forgets it after this callback
        if self._head_bytes is not None:
            if status == 200 and self._keep_alive:
                self._remember(self._head_bytes)
            self._head_bytes = None
        self._answering = False
        self._headers = []
        self._body = b""
        self._size = 0

    def _hand_over(self) -> None:
        """Outside the parser's callbacks, where the caller's own errors would be taken for the upstream's."""
        calls = self.calls
        answered = [(calls.popleft(), answer) for answer in self._answers]
        self._answers.clear()
        self._reused = True
        if not self._keep_alive:
            self._transport.close()
        elif not calls and self._answering:
            self._transport.abort()  # what nobody asked for has begun to arrive: no call is to get it
        elif not calls:
            self._pool.release(self)
        _finish(answered)


_UNUSUAL = frozenset({b"transfer-encoding", b"upgrade"})


def _finish(answered: list[tuple[Call, UpstreamResponse]]) -> None:
    """What one callback raises is its own: the others have their answers all the same."""
    rest = iter(answered)
    try:
        for call, answer in rest:
            call.finish(answer)
    finally:
        if others := list(rest):
            asyncio.get_running_loop().call_soon(_finish, others)
