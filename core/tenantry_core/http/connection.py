"""The transport of one connection: how it is closed, and clients that do not read or are gone."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from tenantry_core.http.encoding import CONTINUE
from tenantry_core.http.reader import NEVER, RequestReader

_LINGER = 2.0
"""Seconds for which a refused client's bytes are read and dropped, so that it can read its answer."""
PROBE_AFTER = 0.25
"""Seconds after which a half-closed client that still waits is asked whether it is there; then doubled."""


class Connection(RequestReader):
    """The writing half, but for what is written."""

    __slots__ = (
        "_closing",
        "_half_closed",
        "_paused",
        "_refused",
        "_transport",
        "_write_deadline",
        "_write_left",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._transport: Any = None
        self._paused = False
        """Nothing is read until answers have been given or taken."""
        self._closing = False
        self._half_closed = False
        """The client has closed its writing side."""
        self._refused = False
        """The client may go on sending what will not be read."""
        self._write_deadline = NEVER
        self._write_left = 0

    def is_waited_for(self) -> bool:
        """A client is still to be answered, and may be asked whether it is there."""
        raise NotImplementedError

    def _pause_reading(self, pause: bool) -> None:
        if pause is self._paused or self._closing:
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
            self.renew_read_deadline()

    def _close(self) -> None:
        """Close when the client has had its answers; one that may still be sending is heard out first.

        Closing with unread bytes would reset the connection and might take the answer with it.
        """
        if self._closing:
            return
        self._closing = self.read_ended = True
        now = self._loop.time()
        if self._refused and not self._half_closed:
            if self._paused:
                self._transport.resume_reading()
            self._write_deadline = now + _LINGER
            self._transport.write_eof()
        else:
            self._await_drain(now)
            self._transport.close()

    def _await_drain(self, now: float) -> None:
        self._write_deadline = now + self.limits.write_timeout
        self._write_left = self._transport.get_write_buffer_size()

    def _check_drain(self, now: float) -> None:
        """A client that reads slowly may go on; one that reads nothing is dropped."""
        if self._transport.get_write_buffer_size() < self._write_left:
            self._await_drain(now)
        else:
            self._transport.abort()

    def _probe(self, delay: float) -> None:
        """Tell a client that is gone from one that has only closed its writing side.

        Both look alike until something is sent: then the kernel of one that is gone answers with a reset.
        An interim answer is something that every HTTP/1.1 client has to skip.
        """
        if self._closing:
            return
        sock: socket.socket = self._transport.get_extra_info("socket")
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._transport.abort()
            return
        if self.is_waited_for():
            self._transport.write(CONTINUE)
        self._loop.call_later(delay * 2, self._probe, delay * 2)
