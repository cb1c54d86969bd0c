"""A small server for test_server.py, started as a command as the router is: --port, --workers, --worker."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from tenantry_core.http.messages import Handler, Reply, Request, Response
from tenantry_core.http.metrics import Counter, Gauge, Histogram, metrics_response
from tenantry_core.http.server import Application, PortTaken, Settings, serve

REQUESTS = Counter("test_requests_total", "Requests.", ("path",))
SECONDS = Histogram("test_seconds", "Seconds.", buckets=(0.1, 1.0))
ALIVE = Gauge("test_alive", "Workers.")


class Routes:
    def match(self, method: bytes, path: bytes) -> Handler | None:
        return {b"/pid": pid, b"/hold": hold, b"/metrics": metrics}.get(path)


def pid(request: Request, reply: Reply) -> None:
    REQUESTS.labels("/pid").inc()
    SECONDS.labels().observe(0.5)
    reply.send(Response(200, (), b"%d" % os.getpid()))


def hold(request: Request, reply: Reply) -> None:
    asyncio.get_running_loop().call_later(1.0, reply.send, Response(200, (), b"held"))


def metrics(request: Request, reply: Reply) -> None:
    reply.send(metrics_response())


async def nothing_else(scope: object, receive: object, send: object) -> None:
    raise NotImplementedError


def build() -> Application:
    ALIVE.labels().inc()
    return Application(nothing_else, Routes())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--worker", type=int)
    arguments = parser.parse_args()
    settings = Settings(
        port=arguments.port, workers=arguments.workers, worker=arguments.worker, graceful_timeout=20
    )
    try:
        serve(build, settings)
    except PortTaken as taken:
        sys.exit(str(taken))


main()
