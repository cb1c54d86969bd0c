"""Asks predictors for loads, a few at a time each, and remembers what they answered."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from tenantry_core.resources import TenantModel
from tenantry_operator.planning.world import (
    SLOT_UNREACHABLE,
    Check,
    CheckFailure,
    CheckResult,
    Instance,
)
from tenantry_operator.reconciling import metrics
from tenantry_operator.reconciling.slot_client import SlotClient

AT_A_TIME = 4
"""Loads asked at once of an instance that warms up; it loads a few at a time itself."""
BESIDE_REQUESTS = 2
"""The same of one that serves: loads and predictions share a core."""
KEPT = 600.0
"""Seconds for which answers for an earlier spec, or of an instance that is gone, are remembered."""
SWEEP_INTERVAL = 30.0
"""Seconds between two looks for answers that need not be remembered."""
SILENCE = (1.0, 30.0)
"""Seconds for which an instance that does not answer is left alone: doubling from the first to the last."""

Results = dict[str, tuple[CheckResult, ...]]


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
        self._results: Results = {}
        self._swept_at = clock()
        self._silent_until: dict[str, float] = {}
        self._silences: Counter[str] = Counter()

    @property
    def pending(self) -> frozenset[Check]:
        return frozenset(self._running)

    @property
    def results(self) -> Results:
        """By the model's uid."""
        return dict(self._results)

    @property
    def silent(self) -> dict[str, float]:
        """Instances that did not answer when last asked, and until when they are left alone, in Unix time."""
        return dict(self._silent_until)

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
        """Drop answers of a memory that may be gone and, now and then, those that no plan will look at again.

        A pod whose process starts again keeps its id; that it is no longer ready tells.
        """
        fallen = {name for name in self._were_ready if name in instances and not instances[name].ready}
        self._were_ready = {instance.id for instance in instances.values() if instance.ready}
        now = self._clock()
        due = now >= self._swept_at + SWEEP_INTERVAL
        if not fallen and not due:
            return
        if due:
            self._swept_at = now
            for gone in self._silent_until.keys() - instances.keys():
                self._hear(gone)

        def is_kept(result: CheckResult) -> bool:
            check = result.check
            model = models.get(check.model)
            alive = model is not None and model.metadata.uid == check.uid
            current = model is not None and check.generation == model.metadata.generation
            lasts = result.at >= now - KEPT or (current and check.instance in instances)
            return alive and lasts and check.instance not in fallen

        for uid, results in list(self._results.items()):
            if not all(map(is_kept, results)):
                self._set_results(uid, filter(is_kept, results))

    async def stop(self) -> None:
        self._waiting = {}
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _start_some(self, instance: str) -> None:
        waiting = self._waiting.get(instance)
        address = self._instances.get(instance)
        while waiting and address is not None and self._busy[instance] < self._room(instance):
            check = waiting.popleft()
            if check not in self._running:
                self._busy[instance] += 1
                self._running[check] = asyncio.create_task(self._run(check, address))

    def _room(self, instance: str) -> int:
        """One that did not answer is tried with a single load once its time has come."""
        until = self._silent_until.get(instance)
        if until is None:
            return BESIDE_REQUESTS if self._instances[instance].ready else AT_A_TIME
        return 1 if until <= self._clock() else 0

    async def _run(self, check: Check, instance: Instance) -> None:
        try:
            outcome = await self._client.load(instance, check)
        finally:
            del self._running[check]
            self._busy[check.instance] -= 1
        failure = outcome if isinstance(outcome, CheckFailure) else None
        if failure is not None and failure.reason == SLOT_UNREACHABLE:
            self._miss(check.instance)
        else:
            self._hear(check.instance)
        others = [result for result in self._results.get(check.uid, ()) if result.check != check]
        known = next((r for r in self._results.get(check.uid, ()) if r.check == check), None)
        again = known is not None and isinstance(known.outcome, CheckFailure)
        attempts = known.attempts + 1 if known is not None and again and failure is not None else 1
        self._set_results(check.uid, (*others, CheckResult(check, outcome, self._clock(), attempts)))
        metrics.CHECKS.labels(failure.reason if failure is not None else "loaded").inc()
        self._start_some(check.instance)
        self._on_result()

    def _set_results(self, uid: str, results: Iterable[CheckResult]) -> None:
        remembered = tuple(results)
        if remembered:
            self._results[uid] = remembered
        else:
            self._results.pop(uid, None)

    def _miss(self, instance: str) -> None:
        """It did not answer. Those that were asked together count as one."""
        now = self._clock()
        if self._silent_until.get(instance, now) <= now:
            self._silences[instance] += 1
            first, longest = SILENCE
            self._silent_until[instance] = now + min(first * 2.0 ** (self._silences[instance] - 1), longest)

    def _hear(self, instance: str) -> None:
        self._silent_until.pop(instance, None)
        del self._silences[instance]
