"""Transport-free: a source and a job -> an answer. Cheap predictions run at once, dear ones in a thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from tenantry_core import wire
from tenantry_core.http.encoding import FAILED, problem_response
from tenantry_core.http.messages import Payload, Reply, Response
from tenantry_core.problems import Problem
from tenantry_predictor.errors import LoadError, ProbeFailed
from tenantry_predictor.metrics import Metrics
from tenantry_predictor.repositories.base import Source
from tenantry_predictor.repositories.cached import CachedModelRepository
from tenantry_predictor.repositories.lanes import Lanes
from tenantry_predictor.repositories.loader import Origin
from tenantry_predictor.repositories.memory import Entry

logger = logging.getLogger(__name__)

Job = Callable[[Entry], Payload]
"""Reads a body, predicts, and gives the answer's. Raises Problem."""

_INLINE_SECONDS = 0.002
"""What the event loop may be held up by one prediction."""
_THREADS = 4
_THREADS_PER_TENANT = 2
_MOST_COUNTED = 10_000
"""Models whose unpinned artifacts are counted."""

_HIT = (wire.CACHE, wire.HIT)
_OUTCOMES: dict[Origin, bytes] = {"hit": wire.HIT_LATER, "disk": b"disk", "miss": b"miss"}
_SERVER_TIMING = b"server-timing"
_NOT_AT_ONCE = Problem(503, "The model is not warm, or not cheap enough.", reason=wire.NOT_AT_ONCE)
_LATE = Problem(504, "The request's time was up before the prediction was made.", reason="DeadlineExceeded")

_TOO_LARGE = Problem(
    422, "The answer takes more memory than the predictor has; send fewer rows.", reason="TooLarge"
)


class Call(NamedTuple):
    """One prediction that is asked for."""

    source: Source
    job: Job
    body_bytes: int
    deadline: float
    """In the event loop's time; past it the work is dropped."""
    at_once: bool = False
    """To be refused if others behind it would have to wait."""


class DataPlane:
    """Predictions and loads over one cache. For one event loop's thread."""

    def __init__(self, cache: CachedModelRepository, metrics: Metrics) -> None:
        self._cache = cache
        self._touched = cache.memory.touched
        self._metrics = metrics
        self._threads = Lanes("predict", _THREADS, _THREADS_PER_TENANT)
        self._tasks: set[asyncio.Task[None]] = set()
        self.busy_seconds = 0.0
        self.unpinned: dict[tuple[str, str], int] = {}
        """Predictions by unpinned artifacts, by model and tenant: such a model has one a user."""

    @property
    def in_flight(self) -> int:
        """Predictions that wait for a load or for a thread."""
        return len(self._tasks)

    def answer(self, call: Call, reply: Reply) -> None:
        """Answer now where the model is warm and cheap, else later. Raises Problem."""
        begun = time.perf_counter()
        entry = self._cache.peek(call.source)
        if entry is None or not _is_cheap(entry, call.body_bytes):
            if call.at_once:
                raise _NOT_AT_ONCE
            self._answer_later(call, reply, begun)
            return
        self._touched(entry)
        try:
            payload = self._run(entry, call)
        except Problem as problem:
            self._metrics.failed(call.source.tenant, problem.status, begun)
            raise
        seconds = time.perf_counter() - begun
        self._metrics.answered(call.source.tenant, "hit", seconds)
        timing = (_SERVER_TIMING, b"predict;dur=%.3f" % (seconds * 1000))
        reply.send(Response(200, (*payload.headers, _HIT, timing), payload.body))

    async def load(self, source: Source, *, pinned: bool, verify: bool) -> wire.LoadReport:
        """Warm (or only verify) a source and let it answer its sample. Raises LoadError."""
        cache = self._cache
        entry = await (cache.verify(source) if verify else cache.load(source, pinned=pinned))
        cache.memory.hold(entry)
        try:
            probed = await self._threads.run(
                source.tenant, lambda: _probe(entry), ended=lambda: cache.memory.release(entry)
            )
        except ProbeFailed:
            cache.memory.condemn(entry.key, source.model)
            raise
        finally:
            cache.memory.release(entry)
        model = entry.model
        return wire.LoadReport(
            sha256=entry.key.sha256,
            size_bytes=entry.size_bytes,
            load_milliseconds=round(entry.loaded_seconds * 1000, 3),
            engine=model.engine,
            inputs=model.inputs,
            outputs=model.outputs,
            columns=model.columns,
            probed=probed,
        )

    def unload(self, source: Source) -> None:
        """Make it first to evict."""
        self._cache.unload(source)

    async def describe(self, source: Source) -> Entry:
        """The entry, loaded if need be; it is not held. Raises LoadError."""
        entry, _ = await self._cache.acquire(source)
        self._cache.memory.release(entry)
        return entry

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._threads.close()
        self._cache.close()

    def _answer_later(self, call: Call, reply: Reply, begun: float) -> None:
        task = asyncio.create_task(self._answer(call, reply, begun))
        self._tasks.add(task)
        reply.on_disconnect = lambda: _drop(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("a prediction failed", exc_info=error)
                self._metrics.failed(call.source.tenant, FAILED.status, begun)
                reply.send(problem_response(FAILED))

        task.add_done_callback(done)

    async def _answer(self, call: Call, reply: Reply, begun: float) -> None:
        try:
            async with asyncio.timeout_at(call.deadline):
                response = await self._respond(call, begun)
        except Problem as problem:
            response = self._fail(call, problem, begun)
        except LoadError as error:
            response = self._fail(call, self.load_problem(call.source, error), begun)
        except TimeoutError:
            response = self._fail(call, _LATE, begun)
        reply.send(response)

    def load_problem(self, source: Source, error: LoadError) -> Problem:
        """503: the request was right, the model is not there (yet)."""
        retry_after = self._cache.retry_after(source)
        return Problem(503, error.message, reason=error.reason, retry_after=retry_after)

    async def _respond(self, call: Call, begun: float) -> Response:
        entry, origin = await self._cache.acquire(call.source)
        loaded = time.perf_counter()
        payload = await self._predicted(entry, call)
        ended = time.perf_counter()
        self._metrics.answered(call.source.tenant, origin, ended - begun)
        timing = _timing(origin, begun, loaded, ended)
        return Response(200, (*payload.headers, (wire.CACHE, _OUTCOMES[origin]), timing), payload.body)

    async def _predicted(self, entry: Entry, call: Call) -> Payload:
        """In a thread, unless it is cheaper than the way there and back. Releases the entry."""
        if not _is_cheap(entry, call.body_bytes):
            return await self._threads.run(
                call.source.tenant,
                lambda: self._run(entry, call),
                ended=lambda: self._cache.memory.release(entry),
            )
        try:
            return self._run(entry, call)
        finally:
            self._cache.memory.release(entry)

    def _run(self, entry: Entry, call: Call) -> Payload:
        """In the event loop's thread or in another one."""
        if time.monotonic() > call.deadline:
            raise _LATE
        begun = time.perf_counter()
        try:
            payload = call.job(entry)
        except (Problem, MemoryError) as error:
            seconds = time.perf_counter() - begun
            if seconds > entry.cost.estimate(call.body_bytes):  # what is refused at once tells nothing
                entry.cost.record(call.body_bytes, seconds)
            if isinstance(error, MemoryError):
                raise _TOO_LARGE from error
            raise
        self._ran(entry, call, time.perf_counter() - begun)
        return payload

    def _ran(self, entry: Entry, call: Call, seconds: float) -> None:
        self.busy_seconds += seconds
        source = call.source
        if source.key is None:
            entry.unpinned_of = source.model
            self._count_unpinned((source.model, source.tenant))
        else:
            entry.requests[source.model] = entry.requests.get(source.model, 0) + 1
        entry.cost.record(call.body_bytes, seconds)

    def _count_unpinned(self, model: tuple[str, str]) -> None:
        counts = self.unpinned
        if model not in counts and len(counts) >= _MOST_COUNTED:
            counts.pop(next(iter(counts)), None)
        counts[model] = counts.get(model, 0) + 1

    def _fail(self, call: Call, problem: Problem, begun: float) -> Response:
        self._metrics.failed(call.source.tenant, problem.status, begun)
        return problem_response(problem)


def _drop(task: asyncio.Task[None]) -> None:
    """The client is gone."""
    task.cancel()


def _is_cheap(entry: Entry, body_bytes: int) -> bool:
    return not entry.model.blocks and entry.cost.estimate(body_bytes) < _INLINE_SECONDS


def _probe(entry: Entry) -> bool:
    """Whether there is a sample row; it must be answered."""
    model = entry.model
    if model.sample is None:
        return False
    try:
        model.predict(entry.table.read(model.sample), [model.outputs[0].name])
    except Problem as problem:
        raise ProbeFailed(f"The artifact does not answer its own sample row: {problem.error}") from problem
    return True


def _timing(origin: Origin, begun: float, loaded: float, ended: float) -> tuple[bytes, bytes]:
    predict = b"predict;dur=%.3f" % ((ended - loaded) * 1000)
    if origin == "hit":
        return _SERVER_TIMING, predict
    return _SERVER_TIMING, b"load;dur=%.3f, %b" % ((loaded - begun) * 1000, predict)
