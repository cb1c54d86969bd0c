"""A PredictorPool's status: how many of its slots run, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tenantry_core.resources import POOL_LABEL, Condition, PredictorPool, PredictorPoolStatus
from tenantry_operator.planning.statuses import timestamp
from tenantry_operator.planning.world import World


def pool_statuses(world: World, models: Mapping[str, int]) -> dict[str, PredictorPoolStatus]:
    """Statuses that differ from what is there, by pool. `models` is how many each pool has."""
    statuses = {n: _status(world, pool, models.get(n, 0)) for n, pool in sorted(world.pools.items())}
    return {name: status for name, status in statuses.items() if status != world.pools[name].status}


def _status(world: World, pool: PredictorPool, models: int) -> PredictorPoolStatus:
    running = [slot for slot in world.slots.values() if slot.pool == pool.name and slot.instances]
    status = PredictorPoolStatus(
        replicas=len(running),
        ready_replicas=sum(slot.ready for slot in running),
        selector=f"{POOL_LABEL}={pool.name}",
        models=models,
    )
    return msgspec.structs.replace(status, conditions=(_ready(world, pool),))


def _ready(world: World, pool: PredictorPool) -> Condition:
    """Whether every slot that is asked for answers."""
    asked = pool.slot_names()
    missing = sorted(name for name in asked if name not in world.slots or not world.slots[name].ready)
    ready = f"{len(asked) - len(missing)} of {len(asked)} slots are ready"
    named = ", ".join(missing[:5]) + (" and more" if len(missing) > 5 else "")
    condition = Condition(
        type="Ready",
        status="False" if missing else "True",
        reason="SlotsMissing" if missing else "AllSlotsReady",
        message=f"{ready}; not ready: {named}" if missing else ready,
        observed_generation=pool.metadata.generation,
    )
    before = next((c for c in pool.status.conditions if c.type == "Ready"), None)
    same = before is not None and before.status == condition.status and before.last_transition_time
    since = before.last_transition_time if before and same else timestamp(world.now)
    return msgspec.structs.replace(condition, last_transition_time=since)
