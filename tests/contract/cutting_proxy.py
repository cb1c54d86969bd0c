"""A proxy that passes requests on, notes them, and breaks off answers where a test says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from cluster.ports import LOOPBACK

_CHUNK = 1 << 16


class CuttingProxy:
    """One thread a connection and direction. `cuts` holds bytes of an answer, the head's among them, after
    which a connection breaks: one entry a connection that is cut, the others pass.
    """

    def __init__(self, port: int) -> None:
        self.cuts: list[int] = []
        self.requests: list[bytes] = []
        """Heads of requests, in lower case."""
        self.answered_bytes = 0
        self.on_cut: Callable[[], object] = lambda: None
        self._target = port
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse every connection from now on."""
        _end(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((LOOPBACK, self._target))
            threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(_CHUNK):
                self.requests.append(data.lower())
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            _end(client, server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        left: int | None = None
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                if left is None:
                    left = self.cuts.pop(0) if self.cuts else 1 << 62
                client.sendall(data[:left])
                self.answered_bytes += len(data[:left])
                left -= len(data)
                if left < 0:
                    self.on_cut()
                    break
        _end(client, server)


def _end(*sockets: socket.socket) -> None:
    for side in sockets:
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it
        side.close()
