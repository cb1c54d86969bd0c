"""What is to be done about one model, from everything that it depends on."""

from __future__ import annotations

import msgspec

from tenantry_core.resources import TenantModel, TenantModelStatus
from tenantry_core.slices import Entry, Target
from tenantry_operator.planning.case import Case
from tenantry_operator.planning.claims import Claim, Refusal, admit, wanted_reference
from tenantry_operator.planning.fleet import Fleet
from tenantry_operator.planning.loads import Loads
from tenantry_operator.planning.statuses import model_status, unavailable
from tenantry_operator.planning.versions import Outcome, decide
from tenantry_operator.planning.world import World


class Decision(msgspec.Struct, frozen=True, eq=False):
    """What was decided about one model, and of what."""

    case: Case
    outcome: Outcome
    slots: frozenset[str]
    """The slots whose state it depends on, and the pool's name."""


def decide_model(
    world: World,
    model: TenantModel,
    claim: Claim,
    entry: Entry | None,
    desired: tuple[str, ...],
    fleet: Fleet,
) -> tuple[Decision, TenantModelStatus, Entry | None]:
    """The decision, the status it means and, where the model may have one, its entry without a revision.

    `entry` is what is written for this very object, `desired` the slots it should be on in the end.
    """
    case = Case(
        model=model,
        wanted=wanted_reference(model),
        claim=claim,
        entry=entry,
        barred=_barred(world, model, claim, entry),
        pool=serving_pool(model, claim, entry) if claim.listed else model.spec.pool_ref.name,
        desired=desired,
        fleet=fleet,
        loads=Loads(world.results.get(model.metadata.uid, ())),
        now=world.now,
    )
    outcome = decide(case)
    status = model_status(case, outcome, world.router_url)
    routed = {slot for target in entry.targets for slot in target.slots} if entry is not None else ()
    decision = Decision(case, outcome, frozenset((case.pool, *desired, *routed)))
    return decision, status, _make_entry(case, outcome, status) if claim.listed else None


def serving_pool(model: TenantModel, claim: Claim, entry: Entry | None) -> str:
    """The spec's pool or, while the spec is refused, the one that it serves on."""
    if claim.refusal is not None and entry is not None and entry.targets:
        return entry.pool
    return model.spec.pool_ref.name


def _barred(world: World, model: TenantModel, claim: Claim, entry: Entry | None) -> Refusal | None:
    """May what serves go on? Only asked where the spec itself is refused."""
    if claim.refusal is None or not claim.listed:
        return claim.refusal
    if entry is None or not entry.targets:
        return claim.refusal
    reference = entry.targets[0].reference
    return admit(model, world.pools.get(entry.pool), reference, world.namespace_labels)


def _make_entry(case: Case, outcome: Outcome, status: TenantModelStatus) -> Entry:
    model, version = case.model, outcome.version
    served = version is not None and version.slots
    return Entry(
        model=model.key,
        uid=model.metadata.uid,
        created=model.metadata.creation_timestamp,
        revision=0,
        tenant=model.tenant,
        pool=case.pool,
        users=case.claim.users,
        traffic=model.spec.traffic,
        targets=(Target(version.reference, version.slots),) if version and served else (),
        unavailable=None if served else unavailable(status),
    )
