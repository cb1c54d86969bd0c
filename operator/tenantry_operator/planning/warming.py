"""A new pod of a slot that has a share: its models are loaded, hottest first, before it turns ready."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tenantry_core.slices import Entry, Reference
from tenantry_core.wire import SlotReport
from tenantry_operator.planning.case import is_per_user
from tenantry_operator.planning.loads import WARM, Known
from tenantry_operator.planning.requests import Requests, attempts
from tenantry_operator.planning.world import SLOT_UNREACHABLE, Check, CheckFailure, Instance, Slot, World

FILL = 0.8
"""How much of the memory budget is filled beforehand; a fuller cache would evict the hottest again."""
TELL_AGAIN = 2.0
"""Seconds after which an instance that was told to turn ready is looked at again."""


def warm_instances(
    world: World,
    routed: Mapping[str, Mapping[str, Entry]],
    requests: Requests,
    heats: Mapping[str, float],
) -> frozenset[str]:
    """Ids of instances that may turn ready; the loads that the others wait for are asked for.

    `routed` are the entries by slot, by model.
    """
    warm = set()
    for slot in world.slots.values():
        for instance in slot.instances:
            if instance.ready or instance.terminating:
                continue
            share = routed.get(slot.name, {}).values()
            checks = list(_share(world, share, slot, instance, heats))
            known = {result.check: result for check in checks for result in world.results.get(check.uid, ())}
            for check in checks:
                requests.ask(check, known, WARM)
            if all(_is_settled(known, check) for check in checks):
                warm.add(instance.id)
    if warm:
        requests.wake(world.now + TELL_AGAIN)
    return frozenset(warm)


def _share(
    world: World, share: Iterable[Entry], slot: Slot, instance: Instance, heats: Mapping[str, float]
) -> Iterator[Check]:
    """Loads of what is routed to the slot, hottest first, as far as they fit."""
    report = world.reports.get(slot.name)
    left = FILL * report.budget_bytes if report and report.budget_bytes else float("inf")
    for entry in sorted(share, key=lambda e: (-heats.get(e.model, 0.0), e.model)):
        model = world.models.get(entry.model)
        reference = _routed_here(entry, slot.name)
        if model is None or model.metadata.uid != entry.uid or is_per_user(reference):
            continue
        left -= model.status.size_bytes
        if left < 0:
            return
        yield Check(
            model=entry.model,
            uid=entry.uid,
            generation=model.metadata.generation,
            refresh=model.refresh,
            slot=slot.name,
            instance=instance.id,
            reference=reference,
            tenant=entry.tenant,
            pinned=model.spec.residency == "Pinned",
        )


def _routed_here(entry: Entry, slot: str) -> Reference:
    return next(target.reference for target in entry.targets if slot in target.slots)


def _is_settled(known: Known, check: Check) -> bool:
    """Loaded, or failed in a way that waiting does not mend. Who does not answer cannot turn ready either."""
    result = known.get(check)
    if result is None:
        return False
    failure = result.outcome
    if not isinstance(failure, CheckFailure) or not failure.transient:
        return True
    return failure.reason != SLOT_UNREACHABLE and attempts(known, check) > 1


def heat_of(load: Mapping[str, float] | None, reports: Mapping[str, SlotReport]) -> Mapping[str, float]:
    """How hot models are, in requests: measured rates, else the counters of the last reports."""
    if load:
        return load
    counted: dict[str, float] = {}
    for report in reports.values():
        for model in report.models:
            counted[model.model] = counted.get(model.model, 0.0) + model.requests
    return counted
