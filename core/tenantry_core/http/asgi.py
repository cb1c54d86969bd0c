"""The same handlers as ordinary routes of FastAPI: for its documentation, and wherever uvicorn runs plain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import fastapi
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tenantry_core.http.encoding import FAILED
from tenantry_core.http.future_reply import FutureReply
from tenantry_core.http.limits import Limits
from tenantry_core.http.messages import Handler, Request, Response
from tenantry_core.problems import Problem

Endpoint = Callable[[fastapi.Request], Awaitable[fastapi.Response]]


def as_endpoint(handler: Handler, limits: Limits | None = None) -> Endpoint:
    """`handler` as the endpoint of a route: `app.add_api_route(path, as_endpoint(handler), ...)`."""
    body_bytes = (limits or Limits()).body_bytes

    async def endpoint(request: fastapi.Request) -> fastapi.Response:
        try:
            _check_path(request)
            body = await _read(request, body_bytes)
            return _to_starlette(await _answer(handler, _to_core(request, body), request))
        except Problem as problem:
            return problem_answer(problem)

    return endpoint


def problem_answer(problem: Problem) -> fastapi.Response:
    """`problem` as an answer of FastAPI's."""
    return _to_starlette(Response(problem.status, problem.headers(), problem.body()))


def render_problems(app: fastapi.FastAPI) -> None:
    """Let `app` answer a Problem, and FastAPI's own errors (404, 405, 422), as problem documents."""

    async def on_problem(_: fastapi.Request, error: Exception) -> fastapi.Response:
        assert isinstance(error, Problem)
        return problem_answer(error)

    async def on_http_exception(request: fastapi.Request, error: Exception) -> fastapi.Response:
        assert isinstance(error, HTTPException)
        path = request.url.path
        sentence = {
            404: f"There is nothing at {path}.",
            405: f"{path} does not answer {request.method}.",
        }.get(error.status_code, f"{error.detail}.")
        answer = problem_answer(Problem(error.status_code, sentence))
        answer.headers.update(error.headers or {})
        return answer

    async def on_invalid(_: fastapi.Request, error: Exception) -> fastapi.Response:
        assert isinstance(error, RequestValidationError)
        parts = [f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors()]
        return problem_answer(Problem(422, "; ".join(parts) + "."))

    async def on_failure(_: fastapi.Request, error: Exception) -> fastapi.Response:
        return problem_answer(FAILED)  # uvicorn logs the error

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(Exception, on_failure)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_invalid)


async def _answer(handler: Handler, request: Request, client: fastapi.Request) -> Response:
    """The handler's answer; if the client goes away first, its work is dropped and nobody is answered."""
    reply = FutureReply()
    handler(request, reply)
    if not reply.answer.done():
        gone = asyncio.ensure_future(_disconnected(client))
        await asyncio.wait((gone, reply.answer), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
    if not reply.answer.done():
        reply.answer.cancel()
        if reply.on_disconnect is not None:
            reply.on_disconnect()
        return Response(499, (), b"")  # written to nobody; the number that logs know it by
    return reply.answer.result()


async def _disconnected(client: fastapi.Request) -> None:
    while (await client.receive())["type"] != "http.disconnect":
        pass


async def _read(request: fastapi.Request, limit: int) -> bytes:
    if int(request.headers.get("content-length", 0)) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _check_path(request: fastapi.Request) -> None:
    """Handlers read the raw path, routes are found by the decoded one: both have to be of one shape."""
    raw = request.scope["raw_path"].decode("latin-1")
    if not request.scope["route"].path_regex.match(raw):
        raise Problem(404, f"There is nothing at {raw}: only names may be percent-encoded.")


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The request's body is larger than {limit} bytes.")


def _to_core(request: fastapi.Request, body: bytes) -> Request:
    scope = request.scope
    received = asyncio.get_running_loop().time()
    method = request.method.encode()
    return Request(method, scope["raw_path"], scope["query_string"], scope["headers"], body, received)


def _to_starlette(response: Response) -> fastapi.Response:
    answer = fastapi.Response(response.body, response.status)
    for name, value in response.headers:
        answer.headers.append(name.decode("latin-1"), value.decode("latin-1"))
    return answer
