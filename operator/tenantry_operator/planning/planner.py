"""plan(world): what to write, load, release and tell. Pure: the same world gives the same plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tenantry_core.resources import TenantModel, TenantModelStatus
from tenantry_core.slices import Entry, Reference, Target, winners
from tenantry_core.wire import SlotReport
from tenantry_operator.planning.case import Case, is_per_user
from tenantry_operator.planning.claims import Claim, Refusal, admit, judge_claims, wanted_reference
from tenantry_operator.planning.events import model_events
from tenantry_operator.planning.fleet import Fleet
from tenantry_operator.planning.loads import WARM, Loads
from tenantry_operator.planning.placement import place
from tenantry_operator.planning.plan import Event, Plan, Release
from tenantry_operator.planning.pools import pool_statuses
from tenantry_operator.planning.replicas import load_shares, wanted_replicas
from tenantry_operator.planning.slicing import lay_out, revise
from tenantry_operator.planning.statuses import model_status, unavailable
from tenantry_operator.planning.versions import Outcome, decide
from tenantry_operator.planning.warming import heat_of, warm_instances
from tenantry_operator.planning.world import World


def plan(world: World) -> Plan:
    """The next step from what is to what was asked for; repeated, it converges to an empty plan."""
    written = winners(entry for name in sorted(world.slices) for entry in world.slices[name])
    fleet = Fleet(world, written.values())
    loads = Loads(world)
    heat = heat_of(world.load, world)
    cases = _Casework(world, written, fleet, loads).cases()
    outcomes = {key: (case, decide(case)) for key, case in cases.items()}
    statuses = {k: model_status(case, outcome, world.router_url) for k, (case, outcome) in outcomes.items()}
    entries = revise(_entries(outcomes, statuses), written, world.highest_revision)
    slices, obsolete = lay_out(entries, world.slices)
    _match_residency(outcomes.values(), world.reports)
    warm = warm_instances(world, fleet, loads, heat)
    loads.wake(fleet.wake_at())
    return Plan(
        slices=slices,
        obsolete=obsolete,
        statuses=_changed(world.models, statuses),
        pool_statuses=pool_statuses(world, entries.values()),
        pool_slots={name: fleet.running(pool) for name, pool in sorted(world.pools.items())},
        checks=loads.wanted(heat),
        releases=_releases(written, entries),
        warm=warm,
        events=_events(world.models, statuses),
        placement={key: case.desired for key, case in cases.items()},
        wake_at=loads.wake_at,
    )


@dataclass(frozen=True, slots=True)
class _Casework:
    """Gathers, for each model, what deciding about it takes."""

    world: World
    written: Mapping[str, Entry]
    fleet: Fleet
    loads: Loads

    def cases(self) -> dict[str, Case]:
        world = self.world
        models = {k: m for k, m in sorted(world.models.items()) if not m.metadata.deletion_timestamp}
        claims = judge_claims(models, world.pools, world.namespace_labels)
        listed = {key: model for key, model in models.items() if claims[key].listed}
        pools = {key: self._pool(model, claims[key]) for key, model in listed.items()}
        desired = self._place(listed, pools)
        cases = {}
        for key, model in models.items():
            pool = pools.get(key, model.spec.pool_ref.name)
            cases[key] = Case(
                model=model,
                wanted=wanted_reference(model),
                claim=claims[key],
                entry=self._entry(model),
                barred=self._barred(model, claims[key]),
                pool=pool,
                desired=desired.get(key, ()),
                fleet=self.fleet,
                loads=self.loads,
                now=world.now,
            )
        return cases

    def _entry(self, model: TenantModel) -> Entry | None:
        entry = self.written.get(model.key)
        return entry if entry is not None and entry.uid == model.metadata.uid else None

    def _pool(self, model: TenantModel, claim: Claim) -> str:
        entry = self._entry(model)
        if claim.refusal is not None and entry is not None and entry.targets:
            return entry.pool
        return model.spec.pool_ref.name

    def _barred(self, model: TenantModel, claim: Claim) -> Refusal | None:
        """May what serves go on? Only asked where the spec itself is refused."""
        entry = self._entry(model)
        if claim.refusal is None or not claim.listed:
            return claim.refusal
        if entry is None or not entry.targets:
            return claim.refusal
        reference = entry.targets[0].reference
        return admit(model, self.world.pools.get(entry.pool), reference, self.world.namespace_labels)

    def _place(
        self, models: Mapping[str, TenantModel], pools: Mapping[str, str]
    ) -> dict[str, tuple[str, ...]]:
        """The desired slots of each model; one that is many users' is on the whole pool."""
        shares = load_shares(self.world.load, pools)
        replicas: dict[str, dict[str, int]] = {}
        desired = {}
        for key, model in models.items():
            members = self.fleet.members.get(pools[key], ())
            if is_per_user(wanted_reference(model)):
                desired[key] = members
            else:
                now = len(self._current(key))
                count = wanted_replicas(model.spec, now, shares.get(key), len(members))
                replicas.setdefault(pools[key], {})[key] = count
        for pool, counts in replicas.items():
            current = {key: self._current(key) for key in counts}
            desired |= place(counts, current, self.fleet.members.get(pool, ()))
        return desired

    def _current(self, key: str) -> tuple[str, ...]:
        """Where a model is placed already: as the last plan wanted it, else as it is written.

        What failed is only where it is written. So it would be after a restart, and finding it a place
        anew must not begin to move others only then.
        """
        entry = self.written.get(key)
        routed = tuple(slot for target in entry.targets for slot in target.slots) if entry else ()
        ready = self.world.models[key].status.condition("Ready")
        failed = ready is not None and ready.status == "False"
        return routed if failed else self.world.placement.get(key, routed)


def _entries(
    outcomes: Mapping[str, tuple[Case, Outcome]], statuses: Mapping[str, TenantModelStatus]
) -> Iterable[Entry]:
    for key, (case, outcome) in outcomes.items():
        if not case.claim.listed:
            continue
        model, version = case.model, outcome.version
        served = version is not None and version.slots
        yield Entry(
            model=key,
            uid=model.metadata.uid,
            created=model.metadata.creation_timestamp,
            revision=0,
            tenant=model.tenant,
            pool=case.pool,
            users=case.claim.users,
            traffic=model.spec.traffic,
            targets=(Target(version.reference, version.slots),) if version and served else (),
            unavailable=None if served else unavailable(statuses[key]),
        )


def _match_residency(outcomes: Iterable[tuple[Case, Outcome]], reports: Mapping[str, SlotReport]) -> None:
    """What must stay in memory is loaded wherever a slot does not keep it; what need not, is let go."""
    held = {
        slot: {(warm.model, warm.sha256): warm.pinned for warm in report.models}
        for slot, report in reports.items()
    }
    for case, outcome in outcomes:
        version = outcome.version
        if version is None or is_per_user(version.reference):
            continue
        pinned = case.model.spec.residency == "Pinned"
        for slot in version.slots:
            kept = held.get(slot, {}).get((case.model.key, version.reference.sha256), False)
            if slot in held and kept != pinned:
                for check in case.checks_on([slot], version.reference):
                    case.loads.ask(check, WARM)


def _releases(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> tuple[Release, ...]:
    """What slots were routed and are no more; the same bytes under another URI are kept."""
    releases = []
    for key, entry in sorted(before.items()):
        new = after.get(key)
        if new is entry:
            continue
        kept = {} if new is None else _routes(new)
        gone = sorted((slot, digest) for slot, digest in _routes(entry) if (slot, digest) not in kept)
        releases += [Release(slot, key, entry.tenant, _routes(entry)[slot, digest]) for slot, digest in gone]
    return tuple(releases)


def _routes(entry: Entry) -> dict[tuple[str, str], Reference]:
    """References by slot and digest."""
    return {
        (slot, target.reference.sha256): target.reference for target in entry.targets for slot in target.slots
    }


def _changed(
    models: Mapping[str, TenantModel], statuses: Mapping[str, TenantModelStatus]
) -> dict[str, TenantModelStatus]:
    """Statuses that differ from what is there, failures first."""
    changed = [(key, status) for key, status in statuses.items() if status != models[key].status]
    return dict(sorted(changed, key=lambda item: (not _failed(item[1]), item[0])))


def _failed(status: TenantModelStatus) -> bool:
    return any(condition.status == "False" for condition in status.conditions)


def _events(
    models: Mapping[str, TenantModel], statuses: Mapping[str, TenantModelStatus]
) -> tuple[Event, ...]:
    return tuple(event for key, status in statuses.items() for event in model_events(models[key], status))
