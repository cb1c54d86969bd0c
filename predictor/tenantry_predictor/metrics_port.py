"""`--metrics-port`: `GET /metrics` and nothing else, for a Prometheus that may not reach the predictions."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from uvicorn.server import ServerState

from tenantry_core.http.asgi import render_problems
from tenantry_core.http.messages import Handler, Reply, Request
from tenantry_core.http.metrics import metrics_response
from tenantry_core.http.server import Application, Settings, server_config

logger = logging.getLogger(__name__)


class _Scrapes:
    """`HotRoutes` of the port."""

    def match(self, method: bytes, path: bytes) -> Handler | None:
        return _scrape if (method, path) == (b"GET", b"/metrics") else None


def _scrape(_: Request, reply: Reply) -> None:
    reply.send(metrics_response())


@asynccontextmanager
async def serving_metrics(sock: socket.socket) -> AsyncIterator[None]:
    """Answers on `sock`, which listens, in the running loop. Whatever else is asked for there is 404."""
    nothing_else = FastAPI(openapi_url=None)
    render_problems(nothing_else)
    config = server_config(Application(nothing_else, _Scrapes()), Settings())
    config.load()
    state = ServerState()
    factory: Callable[..., asyncio.Protocol] = config.http_protocol_class
    protocol = partial(factory, config=config, server_state=state, app_state={})
    server = await asyncio.get_running_loop().create_server(protocol, sock=sock)
    logger.info("metrics alone on port %d", sock.getsockname()[1])
    try:
        yield
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
