"""What polling the slots tells: what they hold, how hot each model is, which slots are idle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenantry_core.wire import SlotReport


@dataclass(frozen=True, slots=True)
class Measurements:
    reports: Mapping[str, SlotReport] = field(default_factory=dict)
    """The last report of each slot."""
    load: Mapping[str, float] | None = None
    """Requests per second by model key; None until two reports can be compared."""
    idle_since: Mapping[str, float] = field(default_factory=dict)
    """Unix time in seconds, by slot, of the first of the reports that show no request since."""


SHORTEST_WINDOW = 5.0
"""Seconds that rates are counted over at least, but for the first of a slot. Slots are polled every second
while one leaves: over so short a time chance alone makes rates differ enough to move models."""

NOTHING_MEASURED = Measurements()


class Meter:
    """Turns the slots' counters into rates. A counter that falls belongs to a new process: it counts anew."""

    def __init__(self) -> None:
        self._reports: dict[str, tuple[float, SlotReport]] = {}
        self._counted: dict[str, tuple[float, SlotReport]] = {}
        """The later of the two reports that a slot's rates were counted from; its first while it has none."""
        self._rates: dict[str, dict[str, float]] = {}
        self._idle_since: dict[str, float] = {}

    def record(self, slot: str, report: SlotReport, now: float) -> None:
        before = self._reports.get(slot)
        self._reports[slot] = (now, report)
        if before is None:
            self._counted[slot] = (now, report)
            return
        self._count(slot, report, now)
        then, old = before
        if report.in_flight or report.busy_seconds != old.busy_seconds:
            self._idle_since.pop(slot, None)
        else:
            self._idle_since.setdefault(slot, then)

    def _count(self, slot: str, report: SlotReport, now: float) -> None:
        then, old = self._counted[slot]
        if slot in self._rates and now - then < SHORTEST_WINDOW:
            return
        self._counted[slot] = (now, report)
        counted = {m.model: m.requests for m in old.models}
        gained = {m.model: m.requests - counted.get(m.model, 0) for m in report.models}
        seconds = max(now - then, 1e-3)
        self._rates[slot] = {model: max(count, 0) / seconds for model, count in gained.items()}

    def forget_all_but(self, slots: set[str]) -> None:
        for kept in (self._reports, self._counted, self._rates, self._idle_since):
            for gone in kept.keys() - slots:
                del kept[gone]

    def measurements(self) -> Measurements:
        load: dict[str, float] = {}
        for rates in self._rates.values():
            for model, rate in rates.items():
                load[model] = load.get(model, 0.0) + rate
        reports = {slot: report for slot, (_, report) in self._reports.items()}
        return Measurements(reports, load if self._rates else None, dict(self._idle_since))
