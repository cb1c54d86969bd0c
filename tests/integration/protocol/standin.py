"""A predictor's stand-in that answers an inference with the header fields it was sent, or stalls.

    python standin.py HOST PORT

A request whose id is `stall` is answered once `/release` was asked for. `/counts` tells how many stall, and
how many were dropped.
"""

from __future__ import annotations

import json
import sys

from tenantry_core.http.messages import Handler, Reply, Request, Response
from tenantry_core.http.server import Application, Settings, serve
from tenantry_core.oip.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from tenantry_core.oip.protobuf_codec import CONTENT_TYPE


class StandIn:
    """Its hot routes: all that it has."""

    def __init__(self) -> None:
        self._stalled: list[tuple[Request, Reply]] = []
        self._dropped = 0

    def match(self, method: bytes, path: bytes) -> Handler | None:
        return {b"/counts": self._counts, b"/release": self._release}.get(
            path, self._infer if method == b"POST" else _healthy
        )

    def _infer(self, request: Request, reply: Reply) -> None:
        if ModelInferRequest.FromString(request.body).id != "stall":
            reply.send(_echo(request))
            return
        stalled = (request, reply)
        self._stalled.append(stalled)

        def drop() -> None:
            self._stalled.remove(stalled)
            self._dropped += 1

        reply.on_disconnect = drop

    def _release(self, _: Request, reply: Reply) -> None:
        stalled, self._stalled = self._stalled, []
        for request, waiting in stalled:
            waiting.send(_echo(request))
        reply.send(Response(200, [], b""))

    def _counts(self, _: Request, reply: Reply) -> None:
        counts = {"stalled": len(self._stalled), "dropped": self._dropped}
        reply.send(Response(200, [], json.dumps(counts).encode()))


def _healthy(_: Request, reply: Reply) -> None:
    reply.send(Response(200, [], b"{}"))


def _echo(request: Request) -> Response:
    fields = {name.decode(): value.decode() for name, value in request.headers}
    fields["line"] = f"{request.method.decode()} {request.path.decode()}"
    answer = ModelInferResponse(id=json.dumps(fields))
    headers = [(b"content-type", CONTENT_TYPE), (b"tenantry-cache", b"hit")]
    return Response(200, headers, answer.SerializeToString())


async def _nothing_else(scope: object, receive: object, send: object) -> None:
    raise NotImplementedError


if __name__ == "__main__":
    routes = StandIn()
    host, port = sys.argv[1], int(sys.argv[2])
    serve(lambda: Application(_nothing_else, routes), Settings(host, port, log_level="warning"))
