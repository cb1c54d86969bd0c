"""A new pod of a slot that has a share: its models are loaded, hottest first, before it turns ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tenantry_core.slices import Entry, Reference
from tenantry_operator.planning.case import is_per_user
from tenantry_operator.planning.fleet import Fleet
from tenantry_operator.planning.loads import WARM, Loads
from tenantry_operator.planning.world import SLOT_UNREACHABLE, Check, Instance, Slot, World

FILL = 0.8
"""How much of the memory budget is filled beforehand; a fuller cache would evict the hottest again."""
TELL_AGAIN = 2.0
"""Seconds after which an instance that was told to turn ready is looked at again."""


def warm_instances(world: World, fleet: Fleet, loads: Loads, heat: Callable[[str], float]) -> frozenset[str]:
    """Ids of instances that may turn ready; the loads that the others wait for are asked for."""
    warm = set()
    for slot in world.slots.values():
        for instance in slot.instances:
            if instance.ready or instance.terminating:
                continue
            checks = list(_share(world, fleet, slot, instance, heat))
            for check in checks:
                loads.ask(check, WARM)
            if all(_is_settled(loads, check) for check in checks):
                warm.add(instance.id)
    if warm:
        loads.wake(world.now + TELL_AGAIN)
    return frozenset(warm)


def _share(
    world: World, fleet: Fleet, slot: Slot, instance: Instance, heat: Callable[[str], float]
) -> Iterator[Check]:
    """Loads of what is routed to the slot, hottest first, as far as they fit."""
    report = world.reports.get(slot.name)
    left = FILL * report.budget_bytes if report and report.budget_bytes else float("inf")
    for entry in sorted(fleet.routed.get(slot.name, ()), key=lambda e: (-heat(e.model), e.model)):
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


def _is_settled(loads: Loads, check: Check) -> bool:
    """Loaded, or failed in a way that waiting does not mend. Who does not answer cannot turn ready either."""
    failure = loads.failure(check)
    if failure is None:
        return loads.report(check) is not None
    return not failure.transient or (failure.reason != SLOT_UNREACHABLE and loads.attempts(check) > 1)


def heat_of(load: Mapping[str, float] | None, world: World) -> Callable[[str], float]:
    """How hot a model is, in requests: measured rates, else the counters of the last reports."""
    if load:
        return lambda model: load.get(model, 0.0)
    counted: dict[str, float] = {}
    for report in world.reports.values():
        for model in report.models:
            counted[model.model] = counted.get(model.model, 0.0) + model.requests
    return lambda model: counted.get(model, 0.0)
