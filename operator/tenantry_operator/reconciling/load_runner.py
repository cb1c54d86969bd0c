"""Asks predictors for loads, a few at a time each, and remembers what they answered."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from tenantry_core.resources import TenantModel
from tenantry_operator.planning.world import Check, CheckFailure, CheckResult, Instance
from tenantry_operator.reconciling import metrics
from tenantry_operator.reconciling.slot_client import SlotClient

AT_A_TIME = 4
"""Loads asked of one instance at once; it loads a few at a time itself."""
KEPT = 600.0
"""Seconds for which answers for an earlier spec, or of an instance that is gone, are remembered."""


class LoadRunner:
    """Runs what the latest plan asks for; what an earlier plan asked for and did not start is forgotten."""

    def __init__(self, client: SlotClient, clock: Callable[[], float], on_result: Callable[[], None]) -> None:
        self._client = client
        self._clock = clock
        self._on_result = on_result
        self._running: dict[Check, asyncio.Task[None]] = {}
        self._busy: Counter[str] = Counter()
        self._waiting: dict[str, deque[Check]] = {}
        self._instances: Mapping[str, Instance] = {}
        self._were_ready: set[str] = set()
        self._results: dict[Check, CheckResult] = {}

    @property
    def pending(self) -> frozenset[Check]:
        return frozenset(self._running)

    @property
    def results(self) -> tuple[CheckResult, ...]:
        return tuple(self._results.values())

    def offer(self, checks: Iterable[Check], instances: Mapping[str, Instance]) -> None:
        """Start these loads in this order, as their instances have room."""
        self._instances = instances
        self._waiting = {}
        for check in checks:
            self._waiting.setdefault(check.instance, deque()).append(check)
        for instance in list(self._waiting):
            self._start_some(instance)
        metrics.WAITING.labels("checks").set(sum(map(len, self._waiting.values())))

    def forget(self, models: Mapping[str, TenantModel], instances: Mapping[str, Instance]) -> None:
        """Drop answers that no plan will look at again, and those of a memory that may be gone.

        A pod whose process starts again keeps its id; that it is no longer ready tells.
        """
        fallen = {name for name in self._were_ready if name in instances and not instances[name].ready}
        self._were_ready = {instance.id for instance in instances.values() if instance.ready}
        oldest = self._clock() - KEPT
        for check, result in list(self._results.items()):
            model = models.get(check.model)
            alive = model is not None and model.metadata.uid == check.uid
            current = model is not None and check.generation == model.metadata.generation
            kept = result.at >= oldest or (current and check.instance in instances)
            if not alive or not kept or check.instance in fallen:
                del self._results[check]

    async def stop(self) -> None:
        self._waiting = {}
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _start_some(self, instance: str) -> None:
        waiting = self._waiting.get(instance)
        address = self._instances.get(instance)
        while waiting and address is not None and self._busy[instance] < AT_A_TIME:
            check = waiting.popleft()
            if check not in self._running:
                self._busy[instance] += 1
                self._running[check] = asyncio.create_task(self._run(check, address))

    async def _run(self, check: Check, instance: Instance) -> None:
        try:
            outcome = await self._client.load(instance, check)
        finally:
            del self._running[check]
            self._busy[check.instance] -= 1
        known = self._results.get(check)
        failed = isinstance(outcome, CheckFailure)
        again = known is not None and isinstance(known.outcome, CheckFailure)
        attempts = known.attempts + 1 if known is not None and again and failed else 1
        self._results[check] = CheckResult(check, outcome, self._clock(), attempts)
        metrics.CHECKS.labels(outcome.reason if isinstance(outcome, CheckFailure) else "loaded").inc()
        self._start_some(check.instance)
        self._on_result()
