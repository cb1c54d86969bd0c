"""The loop: observe, plan, apply. Level-triggered, coalescing, and the only place that has side effects."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tenantry_core.resources import (
    PredictorPool,
    PredictorPoolStatus,
    TenantModel,
    TenantModelStatus,
)
from tenantry_core.slices import Entry
from tenantry_operator.planning.fleet import instance_index
from tenantry_operator.planning.plan import Event, Plan, Release
from tenantry_operator.planning.planner import Planner
from tenantry_operator.planning.statuses import says_the_same
from tenantry_operator.planning.warming import TELL_AGAIN
from tenantry_operator.planning.world import Instance, World
from tenantry_operator.reconciling import metrics
from tenantry_operator.reconciling.actuator import Actuator, ActuatorUnavailable, WriteConflict
from tenantry_operator.reconciling.load_runner import LoadRunner
from tenantry_operator.reconciling.poller import Poller
from tenantry_operator.reconciling.slice_writer import SliceWriter
from tenantry_operator.reconciling.slot_client import SlotClient
from tenantry_operator.reconciling.state import ObservedState
from tenantry_operator.reconciling.trailing import BESIDE_SLICES, RATE, TrailingWriter

T = TypeVar("T")

BREATH = 0.02
"""Seconds between two plans at least, so that a burst of changes becomes one."""
PORTION = 1250
"""Models that a plan decides about at most, of what has just changed and of the rest each: what changes while
thousands are planned for the first time waits for no longer than a few of these."""
BACKOFF = (0.1, 10.0)
"""Seconds to wait after slots could not be brought in line: doubling from the first to the last."""
CALLS_AT_A_TIME = 16


@dataclass(frozen=True, slots=True)
class PoolName:
    """A PredictorPool among the objects whose status is due; TenantModels are named by their key."""

    name: str


class Reconciler:
    """Brings what runs in line with what was applied; keeps nothing that a restart would lose."""

    def __init__(
        self,
        state: ObservedState,
        actuator: Actuator,
        slots: SlotClient,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._actuator = actuator
        self._client = slots
        self._clock = clock
        self._loads = LoadRunner(slots, clock, state.dirty.set)
        self._poller = Poller(slots, clock, state)
        self._slices = SliceWriter(actuator, self._wrote_slice, state.forget_slice_writes, state.dirty.set)
        self._trailing: TrailingWriter[str | PoolName] = TrailingWriter(
            self._write_status, state.dirty.set, self._status_rate
        )
        self._planner = Planner(PORTION)
        self._planning = asyncio.Lock()
        """Held while a plan is made: what the last one told changes meanwhile, see `Plan`."""
        self._world = state.world()
        self._decided = Plan()
        self._releases: dict[str, list[Release]] = {}
        self._running_slots: dict[str, object] = {}
        self._told_ready: dict[str, float] = {}
        self._calls: set[asyncio.Task[object]] = set()
        self._call_slots = asyncio.Semaphore(CALLS_AT_A_TIME)
        self._failures = 0

    async def run(self) -> None:
        """Run until cancelled; on the way out it leaves everything as it is."""
        await self._state.complete.wait()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._loop())
                group.create_task(self._poller.run())
                group.create_task(self._slices.run())
                group.create_task(self._trailing.run())
        finally:
            await self._loads.stop()
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)

    async def _loop(self) -> None:
        gc.disable()  # the first plan is the longest
        try:
            while True:
                started = time.monotonic()
                wake_at = await self._reconcile()
                _collect_garbage(unless=self._decided.undecided > 0)
                await asyncio.sleep(max(BREATH, time.monotonic() - started))
                await self._due(wake_at)
        finally:
            gc.enable()

    async def _due(self, wake_at: float | None) -> None:
        """Until something changed, or the time has come."""
        patience = None if wake_at is None else max(0.0, wake_at - self._clock())
        # Not wait_for: in Python 3.11 it loses a cancellation that comes together with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._state.dirty.wait()

    async def _reconcile(self) -> float | None:
        """One round. Returns when to plan again although nothing changes."""
        self._state.dirty.clear()
        self._slices.begin()
        world = self._state.world(
            results=self._loads.results,
            pending=self._loads.pending,
            silent=self._loads.silent,
            measured=self._poller.measured,
            placement=self._decided.placement,
        )
        async with self._planning:
            with metrics.PLAN_SECONDS.time():
                decided = await asyncio.to_thread(self._planner.plan, world)
            self._world, self._decided = world, decided
        try:
            with metrics.APPLY_SECONDS.time():
                await self._apply(world, decided)
        except (WriteConflict, ActuatorUnavailable):
            await asyncio.sleep(min(BACKOFF[0] * 2**self._failures, BACKOFF[1]))
            self._failures = min(self._failures + 1, 16)
            self._state.dirty.set()
            return None
        self._failures = 0
        if decided.undecided:
            self._state.dirty.set()
        elif self._slices.is_idle:
            metrics.APPLIED_AT.set(world.now)
        return decided.wake_at

    async def _apply(self, world: World, decided: Plan) -> None:
        instances = instance_index(world.slots)
        self._loads.forget(world.models, instances)
        self._loads.offer(decided.checks, instances)
        self._turn_ready(decided, instances)
        self._slices.replace(decided)
        self._releases = _by_model(decided.releases, lambda release: release.model)
        self._tell(decided)
        await self._run_slots(world, decided)

    def _wrote_slice(self, name: str, entries: tuple[Entry, ...] | None) -> None:
        """What it routes elsewhere since, the slots it left need not keep."""
        before = self._world.slices.get(name, ())
        models = {entry.model for entry in (*before, *(entries or ()))}
        metrics.count_moves(before, entries or ())
        self._state.wrote_slice(name, entries)
        self._state.touch()  # what waited for this write is due, even where the watch has shown it already
        for model in models & self._releases.keys():
            self._release(self._releases.pop(model))

    async def _run_slots(self, world: World, decided: Plan) -> None:
        """Told again whenever the pool, its slots or what is behind them changed."""
        running = {name: [s for s in world.slots.values() if s.pool == name] for name in decided.pool_slots}
        for name, slots in decided.pool_slots.items():
            pool = world.pools[name]
            told = (pool.metadata.uid, pool.metadata.generation, pool.spec, slots, running[name])
            if self._running_slots.get(name) != told:
                with metrics.counted("slots"):
                    await self._actuator.run_slots(pool, slots)
                self._running_slots[name] = told
        for name in {slot.pool for slot in world.slots.values()} - decided.pool_slots.keys():
            await self._actuator.remove_pool(name)
        self._running_slots = {n: t for n, t in self._running_slots.items() if n in decided.pool_slots}

    def _turn_ready(self, decided: Plan, instances: dict[str, Instance]) -> None:
        now = self._clock()
        due = [i for i in decided.warm if now >= self._told_ready.get(i, 0.0) + TELL_AGAIN]
        self._told_ready = {i: told for i, told in self._told_ready.items() if i in decided.warm}
        for name in due:
            self._told_ready[name] = now
            self._call(self._client.turn_ready(instances[name]))

    def _release(self, releases: Iterable[Release]) -> None:
        for release in releases:
            slot = self._world.slots.get(release.slot)
            for instance in slot.instances if slot else ():
                self._call(self._release_on(instance, release))

    async def _release_on(self, instance: Instance, release: Release) -> None:
        async with self._call_slots:
            await self._client.release(instance, release)

    def _call(self, call: Coroutine[Any, Any, object]) -> None:
        """Ask something of a predictor that nothing depends on."""
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _tell(self, decided: Plan) -> None:
        """Statuses of what is written as planned, and with each the events that it makes news of.

        Once it is written they are old. While slices wait, few statuses are written between two plans.
        """
        due = itertools.filterfalse(decided.unwritten.__contains__, decided.statuses)
        settled = self._slices.is_idle and not decided.undecided
        some = itertools.islice(due, None if settled else PORTION)
        self._trailing.replace_statuses(itertools.chain(map(PoolName, decided.pool_statuses), some))

    def _status_rate(self) -> float:
        return RATE if self._slices.is_idle and not self._decided.undecided else BESIDE_SLICES

    async def _write_status(self, name: str | PoolName) -> None:
        """As the latest plan wants it, and nothing about what is not written as that plan wants."""
        if isinstance(name, PoolName):
            pool = self._world.pools.get(name.name)
            pool_status = self._decided.pool_statuses.get(name.name)
            if pool is not None and pool_status is not None:
                await self._write_pool_status(pool, pool_status)
            return
        # A plan that is being made fills the views of the last: what they tell may not even be written yet.
        async with self._planning:
            if name in self._decided.unwritten:
                return  # told by the first plan that finds it written
            model, status = self._world.models.get(name), self._decided.statuses.get(name)
            news = self._decided.events.get(name, ())
        if model is not None and status is not None:
            await self._write_model_status(model, status, news)

    async def _write_model_status(
        self, model: TenantModel, status: TenantModelStatus, news: Sequence[Event]
    ) -> None:
        known = self._state.status_of(model)
        if known is not None and says_the_same(known, status):
            return  # it was written while the plan was made that asks for it
        try:
            await self._actuator.write_status(model, status)
        except WriteConflict:
            self._state.forget_status_writes(model.key)
            raise
        self._state.wrote_status(model, status)
        for event in news:
            self._trailing.add_event(functools.partial(self._actuator.record, event))

    async def _write_pool_status(self, pool: PredictorPool, status: PredictorPoolStatus) -> None:
        try:
            await self._actuator.write_pool_status(pool, status)
        except WriteConflict:
            self._state.forget_pool_status_writes(pool.name)
            raise
        self._state.wrote_pool_status(pool, status)


def _collect_garbage(*, unless: bool) -> None:
    """What is observed and decided lasts: looking through thousands that are new takes a third of a plan."""
    if unless:
        gc.disable()
    elif not gc.isenabled():
        gc.freeze()
        gc.enable()


def _by_model(items: Iterable[T], model: Callable[[T], str]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(model(item), []).append(item)
    return found
