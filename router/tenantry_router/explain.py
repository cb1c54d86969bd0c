"""Why a user is served the way they are: the same decisions as a prediction's, told instead of taken."""

from __future__ import annotations

from typing import Any

from tenantry_core.problems import Problem
from tenantry_router.choose import candidates
from tenantry_router.destination import Destination
from tenantry_router.fleet import Slot
from tenantry_router.identity import Caller
from tenantry_router.router import Router


async def explain(router: Router, who: Caller) -> dict[str, Any]:
    """A JSON document about one user. Raises Problem as a prediction would: unknown or ambiguous."""
    assert who.tenant is not None  # the path names at least a tenant
    assignment = router.models.model_for(who.tenant, who.user)
    model, because, _ = assignment or await router.models.look_up(who.tenant, who.user)
    tenant = router.table.tenants[model.tenant]
    document: dict[str, Any] = {
        "tenant": who.tenant,
        "user": who.user,
        "model": model.key,
        "because": because,
        "otherModels": sorted(tenant.models.keys() - {model.key}),
    }
    try:
        destination = router.destinations.of_model(model, who.user)
    except Problem as problem:
        return document | {"version": None, "slot": None, "reason": problem.reason, "message": problem.error}
    return document | _why_slot(router, destination)


def _why_slot(router: Router, destination: Destination) -> dict[str, Any]:
    model, target, order = destination.model, destination.target, destination.order
    pool = router.fleet.pools.get(model.entry.pool)
    choices = list(candidates(target, pool, order, destination.key))
    first = choices[0] if choices else None
    return {
        "version": target.version,
        "otherVersions": [other.version for other in model.targets if other is not target],
        "pool": model.entry.pool,
        "placement": list(order or target.slots),
        "slot": first.slot.name if first else None,
        "reason": first.reason if first else "no slot of the pool has an address",
        "candidates": [_candidate(choice.slot, choice.slot.name in target.slots) for choice in choices],
    }


def _candidate(slot: Slot, placed: bool) -> dict[str, Any]:
    return {
        "slot": slot.name,
        "placed": placed,
        "ready": slot.ready,
        "ejected": slot.ejected,
        "inFlight": slot.in_flight,
    }
