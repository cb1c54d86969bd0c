"""Which loads to ask for now: what was answered counts, failures are tried again at growing intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tenantry_core.wire import LoadReport
from tenantry_operator.planning.world import (
    SLOT_UNREACHABLE,
    Check,
    CheckFailure,
    CheckResult,
    Instance,
    World,
)

UNREACHABLE_DELAY = 1.0
"""Seconds for which an instance that did not answer is left alone; it may just be starting."""
TRANSIENT_DELAY = (1.0, 60.0)
"""Seconds before the first retry and at most, when the store did not answer."""
VERDICT_DELAY = (5.0, 300.0)
"""The same for failures that judge the artifact; the object may still be uploaded."""

RESOLVE, MOVE, WARM, VERIFY = range(4)
"""Urgency: what nobody answers for yet, what waits to be routed, what a new pod waits for, the rest."""


class Loads:
    """Looks answers up, collects what to ask, and when to ask again."""

    def __init__(self, world: World) -> None:
        self._now = world.now
        self._pending = world.pending
        self._results = {result.check: result for result in world.results}
        self._by_uid: dict[str, list[CheckResult]] = {}
        self._silent_until: dict[str, float] = {}
        for result in sorted(world.results, key=_order):
            self._by_uid.setdefault(result.check.uid, []).append(result)
            if _unreachable(result):
                self._silent_until[result.check.instance] = retry_at(result)
        self._asked: dict[Check, int] = {}
        self.wake_at: float | None = None

    def of(self, uid: str) -> list[CheckResult]:
        """The results of a model, oldest first."""
        return self._by_uid.get(uid, [])

    def report(self, check: Check) -> LoadReport | None:
        """What the load answered, if it succeeded."""
        result = self._results.get(check)
        return result.outcome if result and isinstance(result.outcome, LoadReport) else None

    def failure(self, check: Check) -> CheckFailure | None:
        result = self._results.get(check)
        return result.outcome if result and isinstance(result.outcome, CheckFailure) else None

    def answers(self, instance: Instance) -> bool:
        """False for a moment after an instance has not answered."""
        return self._silent_until.get(instance.id, self._now) <= self._now

    def ask(self, check: Check, urgency: int) -> None:
        """Want this load done: now, or when its next try is due. Done and running ones are left alone."""
        result = self._results.get(check)
        if check in self._pending or (result and isinstance(result.outcome, LoadReport)):
            return
        due = self._now if result is None else retry_at(result)
        due = max(due, self._silent_until.get(check.instance, due))
        if due <= self._now:
            self._asked[check] = min(urgency, self._asked.get(check, urgency))
        else:
            self.wake(due)

    def ask_one(self, checks: Iterable[Check], urgency: int) -> None:
        """Want one of these equivalent loads done, not two at a time.

        Where the artifact itself failed it is tried again in its time; where a slot failed, on another one.
        """
        choices = list(checks)
        if choices and not any(check in self._pending for check in choices):
            self.ask(min(choices, key=self._setbacks), urgency)

    def wake(self, at: float | None) -> None:
        if at is not None:
            self.wake_at = at if self.wake_at is None else min(at, self.wake_at)

    def wanted(self, heat: Callable[[str], float]) -> tuple[Check, ...]:
        """Everything asked for, most urgent first, then the hottest models."""
        return tuple(
            sorted(self._asked, key=lambda c: (self._asked[c], -heat(c.model), c.model, c.slot, c.instance))
        )

    def attempts(self, check: Check) -> int:
        """How often in a row it has failed."""
        result = self._results.get(check)
        return result.attempts if result and isinstance(result.outcome, CheckFailure) else 0

    def _setbacks(self, check: Check) -> tuple[bool, int]:
        result = self._results.get(check)
        if result is None or isinstance(result.outcome, LoadReport):
            return True, 0
        return result.outcome.transient, result.attempts


def retry_at(result: CheckResult) -> float:
    """When a failed load is tried again, in Unix time: doubling from the first delay to the longest."""
    assert isinstance(result.outcome, CheckFailure)
    if _unreachable(result):
        return result.at + UNREACHABLE_DELAY
    first, longest = TRANSIENT_DELAY if result.outcome.transient else VERDICT_DELAY
    return result.at + min(first * 2.0 ** min(result.attempts - 1, 16), longest)


def _order(result: CheckResult) -> tuple[float, str, str]:
    return result.at, result.check.slot, result.check.instance


def _unreachable(result: CheckResult) -> bool:
    return isinstance(result.outcome, CheckFailure) and result.outcome.reason == SLOT_UNREACHABLE
