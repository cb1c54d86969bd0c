"""A predictor's stand-in: a real HTTP server that answers with what it was sent, and misbehaves on request.

    python upstream.py SLOT HOST PORT

A prediction whose body is an object may hold `wait` (seconds before the answer), `status` and `answer`
(instead of the echo), `cache` (for Tenantry-Cache), `break` (close the connection instead), `on` (do all this
only if this is the slot). `GET /counts` tells how many predictions arrived, and how many were dropped.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from functools import partial
from typing import Any

from tenantry_core.http.messages import Handler, Reply, Request, Response
from tenantry_core.http.server import Application, Settings, serve
from tenantry_core.problems import Problem
from tenantry_core.wire import AT_ONCE, NOT_AT_ONCE

_JSON = (b"content-type", b"application/json")


class Upstream:
    """Hot routes of the stand-in."""

    def __init__(self, slot: str) -> None:
        self._slot = slot
        self._counts: Counter[str] = Counter()
        self._ready = True

    def match(self, method: bytes, path: bytes) -> Handler | None:
        if path == b"/v2/health/live":
            return lambda _, reply: reply.send(Response(200, [_JSON], b"{}"))
        if path == b"/counts":
            return lambda _, reply: reply.send(Response(200, [_JSON], json.dumps(self._counts).encode()))
        if path == b"/v2/health/ready":
            return lambda _, reply: reply.send(Response(200 if self._ready else 503, [_JSON], b"{}"))
        if path in (b"/doubt", b"/trust"):
            return partial(self._turn, path == b"/trust")
        return self._answer

    def _turn(self, ready: bool, _: Request, reply: Reply) -> None:
        self._ready = ready
        reply.send(Response(200, [_JSON], b"{}"))

    def _answer(self, request: Request, reply: Reply) -> None:
        orders = _orders(request.body)
        if orders.get("on", self._slot) != self._slot:
            orders = {}
        if "wait" in orders and request.header(AT_ONCE):
            raise Problem(503, "That takes its time.", reason=NOT_AT_ONCE)
        self._counts["arrived"] += 1
        if orders.get("break"):
            reply.connection._transport.close()  # type: ignore[attr-defined] # no server does this on purpose
            return
        response = self._response(request, orders)
        if "wait" not in orders:
            reply.send(response)
            return
        timer = asyncio.get_running_loop().call_later(orders["wait"], reply.send, response)

        def drop() -> None:
            self._counts["dropped"] += 1
            timer.cancel()

        reply.on_disconnect = drop

    def _response(self, request: Request, orders: dict[str, Any]) -> Response:
        echo = {
            "slot": self._slot,
            "name": "as the slot knows it",
            "method": request.method.decode(),
            "path": request.path.decode(),
            "query": request.query.decode(),
            "headers": [[name.decode(), value.decode()] for name, value in request.headers],
            "body": request.body.decode(errors="replace"),
        }
        cache = orders.get("cache", "hit").encode()
        headers = [
            _JSON,
            (b"tenantry-cache", cache),
            (b"server-timing", b"predict;dur=0.1"),
            (b"x-inner", b"1"),
        ]
        return Response(orders.get("status", 200), headers, json.dumps(orders.get("answer", echo)).encode())


def _orders(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


async def _nothing_else(scope: object, receive: object, send: object) -> None:
    """Every request is hot."""
    raise NotImplementedError


if __name__ == "__main__":
    upstream = Upstream(sys.argv[1])
    serve(
        lambda: Application(_nothing_else, upstream),
        Settings(sys.argv[2], int(sys.argv[3]), log_level="warning"),
    )
