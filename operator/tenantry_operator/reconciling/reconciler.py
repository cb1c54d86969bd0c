"""The loop: observe, plan, apply. Level-triggered, coalescing, and the only place that has side effects."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from tenantry_core.names import model_key
from tenantry_core.resources import (
    PredictorPool,
    PredictorPoolStatus,
    TenantModel,
    TenantModelStatus,
)
from tenantry_core.slices import Entry
from tenantry_operator.planning.fleet import instance_index
from tenantry_operator.planning.plan import Event, Plan, Release
from tenantry_operator.planning.planner import plan
from tenantry_operator.planning.statuses import says_the_same
from tenantry_operator.planning.warming import TELL_AGAIN
from tenantry_operator.planning.world import Instance, World
from tenantry_operator.reconciling import metrics
from tenantry_operator.reconciling.actuator import Actuator, ActuatorUnavailable, WriteConflict
from tenantry_operator.reconciling.load_runner import LoadRunner
from tenantry_operator.reconciling.poller import Poller
from tenantry_operator.reconciling.slot_client import SlotClient
from tenantry_operator.reconciling.state import ObservedState
from tenantry_operator.reconciling.trailing import TrailingWriter, Write

BREATH = 0.02
"""Seconds between two plans at least, so that a burst of changes becomes one."""
BACKOFF = (0.1, 10.0)
"""Seconds to wait after a write that failed: doubling from the first to the last."""
SLICES_AT_A_TIME = 8
CALLS_AT_A_TIME = 16


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
        self._poller = Poller(slots, clock, state.slots, state.dirty.set)
        self._trailing = TrailingWriter(state.dirty.set)
        self._placement: dict[str, tuple[str, ...]] = {}
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
                group.create_task(self._trailing.run())
        finally:
            await self._loads.stop()
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)

    async def _loop(self) -> None:
        while True:
            started = time.monotonic()
            wake_at = await self._reconcile()
            await asyncio.sleep(max(BREATH, time.monotonic() - started))
            await self._due(wake_at)

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
        world = self._state.world(
            results=self._loads.results,
            pending=self._loads.pending,
            measured=self._poller.measured,
            placement=self._placement,
        )
        with metrics.PLAN_SECONDS.time():
            decided = await asyncio.to_thread(plan, world)
        self._placement = dict(decided.placement)
        try:
            with metrics.APPLY_SECONDS.time():
                await self._apply(world, decided)
        except (WriteConflict, ActuatorUnavailable):
            await asyncio.sleep(min(BACKOFF[0] * 2**self._failures, BACKOFF[1]))
            self._failures = min(self._failures + 1, 16)
            self._state.dirty.set()
            return None
        self._failures = 0
        metrics.APPLIED_AT.set(world.now)
        return decided.wake_at

    async def _apply(self, world: World, decided: Plan) -> None:
        instances = instance_index(world.slots)
        self._loads.forget(world.models, instances)
        self._loads.offer(decided.checks, instances)
        self._turn_ready(decided, instances)
        await self._write_slices(decided)
        for name, entries in decided.slices.items():
            metrics.count_moves(world.slices.get(name, ()), entries)
        await self._run_slots(world, decided)
        self._release(world, decided)
        self._tell(world, decided)

    async def _write_slices(self, decided: Plan) -> None:
        """New and changed slices first, all of them; only then those that they replace go."""
        room = asyncio.Semaphore(SLICES_AT_A_TIME)

        async def write(name: str, entries: tuple[Entry, ...] | None) -> None:
            async with room:
                await self._write_slice(name, entries)

        await _all(write(name, entries) for name, entries in decided.slices.items())
        await _all(write(name, None) for name in sorted(decided.obsolete))

    async def _write_slice(self, name: str, entries: tuple[Entry, ...] | None) -> None:
        call = (
            self._actuator.delete_slice(name)
            if entries is None
            else self._actuator.write_slice(name, entries)
        )
        try:
            with metrics.counted("slice"):
                await call
        except WriteConflict:
            self._state.forget_slice_writes(name)
            raise
        self._state.wrote_slice(name, entries)

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

    def _release(self, world: World, decided: Plan) -> None:
        for release in decided.releases:
            slot = world.slots.get(release.slot)
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

    def _tell(self, world: World, decided: Plan) -> None:
        """Statuses, and with each the events that it makes news of: once it is written they are old."""
        news: dict[str, list[Event]] = {}
        for event in decided.events:
            news.setdefault(model_key(event.namespace, event.name), []).append(event)
        writes: dict[str, Write] = {}
        for key, status in decided.statuses.items():
            writes[f"model {key}"] = functools.partial(
                self._write_status, world.models[key], status, news.get(key, ())
            )
        for name, pool_status in decided.pool_statuses.items():
            writes[f"pool {name}"] = functools.partial(
                self._write_pool_status, world.pools[name], pool_status
            )
        self._trailing.replace_statuses(writes)

    async def _write_status(
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


async def _all(writes: Iterable[Awaitable[None]]) -> None:
    """Carry all of them out, then raise the first failure: one conflict does not hold the others up."""
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
