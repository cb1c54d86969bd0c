"""A call by gRPC in the terms of the hot routes: its metadata as fields, a reply, Problems as its status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
import msgspec

from tenantry_core import wire
from tenantry_core.durations import format_duration
from tenantry_core.http.encoding import FAILED
from tenantry_core.http.future_reply import FutureReply
from tenantry_core.http.messages import Handler, Request, Response
from tenantry_core.problems import Problem
from tenantry_router import grpc_status
from tenantry_router.fields import SERVER_TIMING, TRACEPARENT, TRACESTATE, Fields

logger = logging.getLogger(__name__)


class Context(Protocol):
    """What is used of `grpc.aio.ServicerContext`."""

    def invocation_metadata(self) -> Sequence[tuple[str, str]] | None: ...

    def time_remaining(self) -> float | None: ...

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None: ...

    def trailing_metadata(self) -> Sequence[tuple[str, str]] | None: ...

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing_metadata: Sequence[tuple[str, str]]
    ) -> NoReturn: ...


Asked = TypeVar("Asked")
Method = Callable[[Asked, Context], Awaitable[Any]]

_READ = {name.decode(): name for name in (wire.TENANT, wire.USER, TRACEPARENT, TRACESTATE)}
_TOLD = {name: name.decode() for name in (wire.ROUTE, SERVER_TIMING)}
_LONGEST_SECONDS = 86_400.0


class _Told(msgspec.Struct):
    """Of a predictor's problem document."""

    error: str
    reason: str = ""


_read_problem = msgspec.json.Decoder(_Told).decode


def answering(method: Method[Asked]) -> Method[Asked]:
    """`method` with whatever it raises as the call's status, and nothing of ours told to a client."""

    async def answer(request: Asked, context: Context) -> Any:
        try:
            return await method(request, context)
        except Problem as problem:
            ended = problem
        except Exception:  # as over HTTP: what a handler gets wrong costs this one call
            logger.exception("a call failed")
            ended = FAILED
        told = (*(context.trailing_metadata() or ()), *grpc_status.metadata(ended))
        return await context.abort(grpc_status.code(ended), ended.error, told)

    return answer


def read_fields(context: Context) -> Fields:
    """Who asks and within which trace, as header fields; the call's deadline as Tenantry-Timeout."""
    fields = Fields()
    for key, value in context.invocation_metadata() or ():
        name = _READ.get(key)
        if name is not None:
            fields[name] = value.encode("latin-1", "replace")
    seconds = context.time_remaining()
    if seconds is not None:
        fields[wire.TIMEOUT] = format_duration(min(seconds, _LONGEST_SECONDS)).encode()
    return fields


async def ask(handler: Handler, request: Request, context: Context) -> bytes:
    """The body of the handler's good answer; its route goes into the call's metadata.

    Raises Problem for another answer. If the client goes away first, the work is dropped.
    """
    reply = FutureReply()
    handler(request, reply)
    try:
        response = await reply.answer
    except asyncio.CancelledError:
        if reply.on_disconnect is not None:
            reply.on_disconnect()
        raise
    told = [(_TOLD[name], value.decode("latin-1")) for name, value in response.headers if name in _TOLD]
    context.set_trailing_metadata(told)
    if response.status != 200:
        raise _problem(response)
    return response.body


def _problem(response: Response) -> Problem:
    try:
        told = _read_problem(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Problem(502, "The predictor's answer is no problem document.", reason="BadGateway")
    after = dict(response.headers).get(b"retry-after", b"")
    retry_after = int(after) if after.isdigit() else None
    return Problem(response.status, told.error, reason=told.reason, retry_after=retry_after)
