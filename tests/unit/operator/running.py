"""A reconciler with predictors that answer over real sockets, and an actuator that keeps a journal."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response

from tenantry_core.problems import Problem
from tenantry_core.resources import (
    Artifact,
    Metadata,
    PredictorPool,
    PredictorPoolSpec,
    PredictorPoolStatus,
    TenantModel,
    TenantModelSpec,
    TenantModelStatus,
)
from tenantry_core.slices import Entry, winners
from tenantry_core.wire import LoadReport, LoadRequest, SlotReport
from tenantry_operator.planning.plan import Event
from tenantry_operator.planning.world import Instance
from tenantry_operator.reconciling import metrics
from tenantry_operator.reconciling.reconciler import Reconciler
from tenantry_operator.reconciling.slot_client import SlotClient
from tenantry_operator.reconciling.state import ObservedState

TOKEN = "a-shared-token"

Call = tuple[str, str, LoadRequest | None]
"""`load`, `unload` or `ready`, the model, and what was asked."""


class FakePredictor:
    """Answers as a predictor does; `problems` says which URIs it cannot load, and why."""

    def __init__(self, slot: str) -> None:
        self.slot = slot
        self.ready = False
        self.calls: list[Call] = []
        self.problems: dict[str, Problem] = {}
        self.tokens: set[str | None] = set()
        self.delay = 0.0
        self.most_at_once = 0
        self._at_once = 0
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.instance = Instance(f"{slot}-uid", "127.0.0.1", 0, ready=False)

    async def start(self) -> None:
        config = uvicorn.Config(
            self._app(),
            host="127.0.0.1",
            port=0,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._task = asyncio.create_task(self._server.serve())
        await until(lambda: self._server is not None and self._server.started)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.instance = Instance(f"{self.slot}-uid", "127.0.0.1", port, self.ready)

    async def stop(self) -> None:
        assert self._server is not None
        assert self._task is not None
        self._server.should_exit = True
        await self._task

    def loads(self) -> list[LoadRequest]:
        return [request for kind, _, request in self.calls if kind == "load" and request is not None]

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v2/repository/models/{model}/{action}")
        async def repository(model: str, action: str, request: Request) -> Response:
            self.tokens.add(request.headers.get("tenantry-token"))
            wanted = msgspec.json.decode(await request.body(), type=LoadRequest)
            self.calls.append((action, model, wanted))
            return await self._load(wanted) if action == "load" else Response()

        @app.get("/v2/slot")
        async def report() -> Response:
            return _json(SlotReport(self.slot, 10**9, 0, 0.0, 0, ready=self.ready))

        @app.post("/v2/slot/ready")
        async def turn_ready() -> Response:
            self.ready = True
            self.calls.append(("ready", "", None))
            return Response()

        return app

    async def _load(self, wanted: LoadRequest) -> Response:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(self.delay)
        self._at_once -= 1
        problem = self.problems.get(wanted.reference.uri)
        if problem is not None:
            return Response(problem.body(), problem.status, media_type="application/problem+json")
        sha256 = wanted.reference.sha256 or wanted.reference.uri.encode().hex().ljust(64, "0")[:64]
        return _json(LoadReport(sha256, 43_000, 1.5, "onnx", probed=True))


def _json(content: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


class Journal:
    """An actuator that notes every write in order; `fail` may raise before one, by its kind."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, str]] = []
        self.slices: dict[str, tuple[Entry, ...]] = {}
        self.statuses: dict[str, TenantModelStatus] = {}
        self.running: dict[str, tuple[str, ...]] = {}
        self.events: list[Event] = []
        self.status_seconds = 0.0
        self.fail: Callable[[str, str], None] = lambda kind, name: None

    def _note(self, kind: str, name: str) -> None:
        self.fail(kind, name)
        self.writes.append((kind, name))

    def count(self, kind: str) -> int:
        return sum(written == kind for written, _ in self.writes)

    @property
    def entries(self) -> dict[str, Entry]:
        return winners(entry for entries in self.slices.values() for entry in entries)

    def routed(self, key: str) -> bool:
        entry = self.entries.get(key)
        return entry is not None and bool(entry.targets)

    def ready(self, key: str) -> tuple[str, str]:
        condition = self.statuses[key].condition("Ready") if key in self.statuses else None
        return (condition.status, condition.reason) if condition else ("", "")

    async def write_slice(self, name: str, entries: Sequence[Entry]) -> None:
        self._note("slice", name)
        self.slices[name] = tuple(entries)

    async def delete_slice(self, name: str) -> None:
        self._note("delete", name)
        del self.slices[name]

    async def write_status(self, model: TenantModel, status: TenantModelStatus) -> None:
        await asyncio.sleep(self.status_seconds)
        self._note("status", model.key)
        self.statuses[model.key] = status

    async def write_pool_status(self, pool: PredictorPool, status: PredictorPoolStatus) -> None:
        self._note("pool status", pool.name)

    async def run_slots(self, pool: PredictorPool, slots: Sequence[str]) -> None:
        self._note("slots", pool.name)
        self.running[pool.name] = tuple(slots)

    async def remove_pool(self, name: str) -> None:
        self._note("remove pool", name)

    async def record(self, event: Event) -> None:
        self._note("event", event.reason)
        self.events.append(event)


class Running:
    """The parts of a running operator that tests look at and turn."""

    def __init__(self, slots: int) -> None:
        self.state = ObservedState()
        self.journal = Journal()
        self.pool = PredictorPool(Metadata("default", uid="pool"), PredictorPoolSpec(slots))
        self.predictors = {name: FakePredictor(name) for name in self.pool.slot_names()}
        self._generation = 0

    def show(self, predictor: FakePredictor, *, ready: bool) -> None:
        self.state.put_slot(predictor.slot, "default", [replace(predictor.instance, ready=ready)])

    def apply(self, name: str, uri: str = "", sha256: str = "") -> str:
        """Put a model as the source would; the status is kept as it was written. Returns its key."""
        key = f"ns.{name}"
        self._generation += 1
        spec = TenantModelSpec(Artifact(uri or f"s3://models/{name}.onnx", sha256=sha256))
        metadata = Metadata(name, "ns", f"uid-{name}", self._generation, "2026-01-01T00:00:00Z")
        self.state.put_model(TenantModel(metadata, spec, self.journal.statuses.get(key, TenantModelStatus())))
        return key

    @contextlib.asynccontextmanager
    async def reconciler(self) -> AsyncIterator[None]:
        client = SlotClient(lambda: TOKEN)
        task = asyncio.create_task(Reconciler(self.state, self.journal, client).run())
        try:
            yield
            assert not task.done(), task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await client.close()


@contextlib.asynccontextmanager
async def operator(slots: int = 2, *, ready: bool = True) -> AsyncIterator[Running]:
    """An operator that runs, with as many slots; they answer, and say so unless `ready` is False."""
    running = Running(slots)
    try:
        for predictor in running.predictors.values():
            await predictor.start()
            running.show(predictor, ready=ready)
        running.state.put_pool(running.pool)
        running.state.set_complete()
        async with running.reconciler():
            yield running
    finally:
        for predictor in running.predictors.values():
            await predictor.stop()


def plans_made() -> float:
    """How many plans this process has made so far."""
    samples = (s for metric in metrics.PLAN_SECONDS.collect() for s in metric.samples)
    return next(s.value for s in samples if s.name.endswith("_count"))


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition to come true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.005)


def run(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run an asynchronous test function in an event loop of its own."""

    def wrapper() -> None:
        async def limited() -> None:
            async with asyncio.timeout(150):
                await test()

        asyncio.run(limited())

    wrapper.__name__ = test.__name__
    wrapper.__doc__ = test.__doc__
    return wrapper
