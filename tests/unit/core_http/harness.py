"""A real uvicorn server with the hot protocol in a thread, and a client that says exactly what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httptools
import uvicorn
import uvloop
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from fastapi.responses import StreamingResponse

from tenantry_core.http.asgi import as_endpoint, render_problems
from tenantry_core.http.limits import Budget, Limits
from tenantry_core.http.messages import Handler, Reply, Request, Response
from tenantry_core.http.protocol import hot_protocol
from tenantry_core.problems import Problem

PATIENCE = 30.0
"""Seconds that a test waits for a condition before it fails; nothing waits that long when all is well."""

TEXT = ((b"content-type", b"text/plain"),)


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError(f"never came true: {what}")


@dataclass
class Held:
    """A request whose answer the test gives."""

    request: Request
    reply: Reply
    loop: asyncio.AbstractEventLoop
    disconnected: bool = False

    def answer(self, body: bytes) -> None:
        self.loop.call_soon_threadsafe(self.reply.send, Response(200, TEXT, body))


@dataclass
class Routes:
    """POST /echo answers the body, /hold waits for the test, /fail and /problem raise."""

    held: list[Held] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)

    def match(self, method: bytes, path: bytes) -> Handler | None:
        handlers: dict[bytes, Handler] = {
            b"/echo": self.echo,
            b"/hold": self.hold,
            b"/fail": fail,
            b"/problem": problem,
            b"/big": big,
            b"/bad-answer": bad_answer,
        }
        return handlers.get(path) if method in (b"POST", b"HEAD") else None

    def echo(self, request: Request, reply: Reply) -> None:
        self.seen.append(request)
        reply.send(Response(200, TEXT, b"echo:" + request.query + b":" + request.body))

    def hold(self, request: Request, reply: Reply) -> None:
        held = Held(request, reply, asyncio.get_running_loop())

        def gone() -> None:
            held.disconnected = True

        reply.on_disconnect = gone
        self.held.append(held)

    def take(self, count: int = 1) -> list[Held]:
        """The requests that are held, when there are `count` of them."""
        return eventually(lambda: len(self.held) >= count and list(self.held), f"{count} requests held")  # type: ignore[no-any-return]


def fail(request: Request, reply: Reply) -> None:
    raise RuntimeError("a secret of the server's")


def problem(request: Request, reply: Reply) -> None:
    raise Problem(503, "The model is being loaded.", reason="FirstLoad", retry_after=7)


def big(request: Request, reply: Reply) -> None:
    reply.send(Response(200, TEXT, b"x" * int(request.query)))


def bad_answer(request: Request, reply: Reply) -> None:
    reply.send(Response(200, ((b"x-name", b"a\r\nset-cookie: b"),), b""))


def application(routes: Routes, limits: Limits | None = None) -> FastAPI:
    """The hot handlers as ordinary routes, and some of FastAPI's own."""
    app = FastAPI()
    render_problems(app)
    for path in ("/echo", "/hold", "/fail", "/problem", "/big"):
        handler = routes.match(b"POST", path.encode())
        assert handler is not None
        app.add_api_route(path, as_endpoint(handler, limits), methods=["POST"])

    @app.get("/health")
    async def health() -> dict[str, bool]:
        return {"ok": True}

    @app.post("/length")
    async def length(request: FastAPIRequest) -> dict[str, int]:
        return {"length": len(await request.body())}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> Any:
            for i in range(3):
                yield f"part {i};"
                await asyncio.sleep(0)

        return StreamingResponse(parts())

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret of FastAPI's")

    return app


@dataclass
class Server:
    """A running server."""

    port: int
    routes: Routes
    budget: Budget
    uvicorn: uvicorn.Server

    def connections(self) -> int:
        return len(self.uvicorn.server_state.connections)

    def connect(self) -> Client:
        return Client(self.port)


@contextlib.contextmanager
def serving(
    limits: Limits | None = None, budget: Budget | None = None, *, hot: bool = True, http: Any = None
) -> Iterator[Server]:
    """A server in a thread; `hot=False` serves the same handlers through plain uvicorn and FastAPI."""
    limits, budget, routes = limits or Limits(), budget or Budget(), Routes()
    config = uvicorn.Config(
        application(routes, limits),
        http=http or (hot_protocol(routes, limits, budget) if hot else "httptools"),
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_run, args=(server, listener), daemon=True)
    thread.start()
    eventually(lambda: server.started, "the server has started")
    try:
        yield Server(listener.getsockname()[1], routes, budget, server)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not stop"


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve([listener]))


@dataclass
class Answer:
    """One answer, with what the parser knew at its end."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A socket, and a parser for what comes back."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = b""
        self._answers: list[Answer] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def answer(self) -> Answer:
        """The next answer, interim ones included."""
        while not self._answers:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed without an answer")
            self._parser.feed_data(data)
        return self._answers.pop(0)

    def ask(self, *parts: bytes) -> Answer:
        self.send(*parts)
        return self.answer()

    def closed(self) -> bool:
        """Whether the server closes the connection, without another byte."""
        assert not self._answers
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def finish_sending(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._answers.append(Answer(self._parser.get_status_code(), self._headers, self._body))
        self._headers, self._body = {}, b""


def post(path: str, body: bytes = b"", *fields: str, version: str = "1.1") -> bytes:
    """A request with Host and Content-Length."""
    lines = [f"POST {path} HTTP/{version}", "Host: test", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: test", *fields]).encode() + b"\r\n\r\n"


def chunked(path: str, *chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A request whose body comes in these chunks."""
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end
