"""What the operator counts about its work. What there is by now is told by `kubernetes/health.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from tenantry_core.slices import Entry
from tenantry_operator.reconciling.actuator import ActuatorUnavailable, WriteConflict

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

PLAN_SECONDS = Histogram("tenantry_operator_plan_seconds", "To compute one plan.", buckets=_SECONDS)
APPLY_SECONDS = Histogram(
    "tenantry_operator_apply_seconds", "To write a plan's slices and slots.", buckets=_SECONDS
)
APPLIED_AT = Gauge(
    "tenantry_operator_applied_timestamp_seconds",
    "Unix time up to which every observed change has been planned and applied.",
)
WRITES = Counter(
    "tenantry_operator_writes_total",
    "Writes of slices, slots (all of a pool at once), statuses and events, by outcome.",
    ["kind", "outcome"],
)
MOVES = Counter("tenantry_operator_moves_total", "Models whose slots were changed in a slice.")
WAITING = Gauge(
    "tenantry_operator_waiting", "What waits to be done: statuses, events, or loads to ask for.", ["queue"]
)
CHECKS = Counter("tenantry_operator_checks_total", "Loads asked of predictors, by outcome.", ["outcome"])

for _kind in ("slice", "slots", "status", "event"):
    for _outcome in ("written", "conflict", "unavailable"):
        WRITES.labels(_kind, _outcome)  # there from the start: nothing is seen of a counter's first value


@contextmanager
def counted(kind: str) -> Iterator[None]:
    """Counts the write that the block makes, by its outcome."""
    try:
        yield
    except WriteConflict:
        WRITES.labels(kind, "conflict").inc()
        raise
    except ActuatorUnavailable:
        WRITES.labels(kind, "unavailable").inc()
        raise
    WRITES.labels(kind, "written").inc()


def count_moves(before: Iterable[Entry], after: Iterable[Entry]) -> None:
    """A slice was written: which of its models are on other slots than before?"""
    known = {entry.model: entry for entry in before}
    pairs = ((known.get(entry.model, entry), entry) for entry in after)
    MOVES.inc(sum(old is not new and _is_move(old, new) for old, new in pairs))


def _is_move(old: Entry, new: Entry) -> bool:
    was, is_now = _slots(old), _slots(new)
    return old.uid == new.uid and bool(was) and bool(is_now) and was != is_now


def _slots(entry: Entry) -> frozenset[str]:
    return frozenset(slot for target in entry.targets for slot in target.slots)
