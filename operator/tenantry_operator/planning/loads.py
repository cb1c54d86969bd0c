"""What is known of one model's loads, and which more its plan wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tenantry_core.slices import Reference
from tenantry_core.wire import LoadReport
from tenantry_operator.planning.world import SLOT_UNREACHABLE, Check, CheckFailure, CheckResult

UNREACHABLE_DELAY = 1.0
"""Seconds for which a load is left alone whose instance did not answer; it may just be starting."""
TRANSIENT_DELAY = (1.0, 60.0)
"""Seconds before the first retry and at most, when the store did not answer."""
VERDICT_DELAY = (5.0, 300.0)
"""The same for failures that judge the artifact; the object may still be uploaded."""

RESOLVE, MOVE, WARM, VERIFY = range(4)
"""Urgency: what nobody answers for yet, what waits to be routed, what a new pod waits for, the rest."""

Known = Mapping[Check, CheckResult]
"""The last result of each check."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """Wanted on any one slot of the model's pool, rather on those it is placed on."""

    reference: Reference
    verify: bool
    urgency: int


class Loads:
    """Looks the results of one model up, and collects what deciding about it asks for."""

    __slots__ = ("anywhere", "known", "results", "wanted")

    def __init__(self, results: tuple[CheckResult, ...] = ()) -> None:
        self.results = sorted(results, key=_order) if results else ()
        """Oldest first."""
        self.known: Known = {result.check: result for result in results}
        self.wanted: dict[Check, int] = {}
        """Loads on certain instances, with their urgency."""
        self.anywhere: list[OneOf] = []

    def report(self, check: Check) -> LoadReport | None:
        """What the load answered, if it succeeded."""
        return loaded(self.known, check)

    def failure(self, check: Check) -> CheckFailure | None:
        result = self.known.get(check)
        return result.outcome if result and isinstance(result.outcome, CheckFailure) else None

    def ask(self, check: Check, urgency: int) -> None:
        """Want this load done: now, or when its next try is due."""
        if self.report(check) is None:
            self.wanted[check] = min(urgency, self.wanted.get(check, urgency))

    def ask_one(self, reference: Reference, urgency: int, *, verify: bool = False) -> None:
        """Want it loaded by one slot, whichever it is."""
        one = OneOf(reference, verify, urgency)
        if one not in self.anywhere:
            self.anywhere.append(one)


def loaded(known: Known, check: Check) -> LoadReport | None:
    result = known.get(check)
    return result.outcome if result and isinstance(result.outcome, LoadReport) else None


def retry_at(result: CheckResult) -> float:
    """When a failed load is tried again, in Unix time: doubling from the first delay to the longest."""
    assert isinstance(result.outcome, CheckFailure)
    if result.outcome.reason == SLOT_UNREACHABLE:
        return result.at + UNREACHABLE_DELAY
    first, longest = TRANSIENT_DELAY if result.outcome.transient else VERDICT_DELAY
    return result.at + min(first * 2.0 ** min(result.attempts - 1, 16), longest)


def _order(result: CheckResult) -> tuple[float, str, str]:
    return result.at, result.check.slot, result.check.instance
