"""A server that answers by a script, request by request, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    status: int = 200
    document: Any = (1.0,)
    headers: Mapping[str, str] = field(default_factory=dict)


BREAK = "break"
"""The connection ends without an answer."""
HANG = "hang"
"""Nothing is answered until the test ends."""


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: tuple[str, int]


class Scripted:
    """The last step of the script goes on for ever."""

    def __init__(self, *script: Reply | str) -> None:
        self.asked: list[Asked] = []
        self._script = list(script)
        self._ended = Event()
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                scripted._answer(self)

            def do_GET(self) -> None:
                scripted._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        fields = {name.lower(): value for name, value in handler.headers.items()}
        host, port = handler.client_address[:2]
        self.asked.append(Asked(handler.command, handler.path, fields, body, (str(host), port)))
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Reply):
            self._send(handler, step)
            return
        if step == HANG:
            self._ended.wait()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        content = reply.document if isinstance(reply.document, bytes) else json.dumps(reply.document).encode()
        handler.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)
