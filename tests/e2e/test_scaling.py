"""A pool that grows and shrinks while all its models are asked."""

from __future__ import annotations

import time

from e2e.conftest import Note
from e2e.installation import SLOTS, Installation
from e2e.rest import settle
from e2e.traffic import Window
from integration.waiting import wait_for

SLACK = 1.1
STEADY_SECONDS = 5.0
LEFT_SECONDS = 180.0
"""A leaving slot is drained before it goes."""


def test_a_pool_that_grows_and_shrinks_fails_no_request_and_moves_only_what_must(
    installation: Installation, note: Note
) -> None:
    newcomer = f"default-{SLOTS}"
    first = steady_placement(installation)
    with installation.traffic() as traffic:
        before = traffic.go_on(10)
        since, asked = traffic.now, loads(installation)
        scale(installation, SLOTS + 1)
        wait_for(lambda: is_used(installation, newcomer), LEFT_SECONDS, "the newcomer has its share")
        grown = steady_placement(installation)
        to_grow = loads(installation) - asked
        traffic.go_on(3)
        growing = traffic.window(since)
        note(f"before: {before.summary()}")
        note(figures(f"{SLOTS} to {SLOTS + 1}", growing, before, first, grown, to_grow))

        since, asked = traffic.now, loads(installation)
        scale(installation, SLOTS)
        shrunk = steady_placement(installation)
        to_shrink = loads(installation) - asked
        traffic.go_on(3)
        shrinking = traffic.window(since)
        note(figures(f"back to {SLOTS}", shrinking, before, grown, shrunk, to_shrink))
    for window in (growing, shrinking):
        assert window.failures == []
        assert window.cold == []
    assert growing.slots[newcomer] > 0
    share = {model for model, slots in grown.items() if newcomer in slots}
    for old, new, loaded in ((first, grown, to_grow), (grown, shrunk, to_shrink)):
        moved = {model for model in old if new[model] != old[model]}
        assert share <= moved
        # What other slots had too much of, after what happened to them before, may move along.
        assert len(moved) <= SLACK * len(share)
        assert loaded <= len(moved)


def scale(installation: Installation, slots: int) -> None:
    """As people do, until it is so."""
    installation.kubectl("scale", "predictorpool/default", f"--replicas={slots}")
    wait_for(lambda: len(installation.pods("predictor")) == slots, LEFT_SECONDS, f"{slots} predictors")
    settle(installation)


def is_used(installation: Installation, slot: str) -> bool:
    return any(slot in slots for slots in installation.placement().values())


def steady_placement(installation: Installation) -> dict[str, frozenset[str]]:
    """Once it has not changed for some seconds: models move as they are loaded where they shall be."""
    seen, since = installation.placement(), time.monotonic()

    def is_steady() -> bool:
        nonlocal seen, since
        now = installation.placement()
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() > since + STEADY_SECONDS

    wait_for(is_steady, LEFT_SECONDS, "no model moves")
    return seen


def loads(installation: Installation) -> int:
    """What predictors have loaded so far because the operator asked."""
    [operator] = installation.pods("operator")
    return int(installation.metric(operator, "tenantry_operator_checks_total", outcome="loaded"))


def figures(
    what: str,
    window: Window,
    before: Window,
    old: dict[str, frozenset[str]],
    new: dict[str, frozenset[str]],
    loaded: int,
) -> str:
    moved = sum(old[model] != new[model] for model in old)
    share = f"{moved} of {len(old)} models moved, {loaded} loaded before"
    return f"{what}: {share}; {window.summary()}; p99 {window.p99 / before.p99:.2f} of before"
