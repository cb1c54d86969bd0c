"""Bringing a version to the slots it should be on: loaded there first, then routed, then moved off."""

from __future__ import annotations

from collections.abc import Sequence

from tenantry_core.slices import Reference
from tenantry_operator.planning.case import Case, is_per_user
from tenantry_operator.planning.loads import MOVE
from tenantry_operator.planning.world import CheckFailure


def next_slots(case: Case, reference: Reference, routed: Sequence[str]) -> tuple[str, ...]:
    """The slots to route to now; loads that are missing for the rest of the way are asked for.

    Slots that are gone are left at once. Where nothing would be left, the desired slots are routed cold:
    any predictor can load what it is asked for.
    """
    alive = [slot for slot in routed if case.fleet.alive(slot)]
    if is_per_user(reference) or not alive:
        return case.desired
    arriving = [slot for slot in case.desired if slot not in alive]
    arrived = [slot for slot in arriving if is_loaded(case, reference, slot)]
    staying = [slot for slot in alive if slot in case.desired]
    leaving = [slot for slot in alive if slot not in case.desired]
    complete = case.desired and len(arrived) == len(arriving)
    return tuple(sorted(staying + arrived + ([] if complete else leaving)))


def move_failure(case: Case, reference: Reference, slots: Sequence[str]) -> CheckFailure | None:
    """Why a desired slot cannot have the version, where it is the artifact's fault."""
    missing = [slot for slot in case.desired if slot not in slots]
    for check in case.checks_on(missing, reference):
        failure = case.loads.failure(check)
        if failure is not None and not failure.transient:
            return failure
    return None


def is_loaded(case: Case, reference: Reference, slot: str) -> bool:
    """Does every ready instance of the slot hold it? What is missing is asked for."""
    checks = case.checks_on([slot], reference)
    for check in checks:
        case.loads.ask(check, MOVE)
    return bool(checks) and all(case.loads.report(check) is not None for check in checks)
