"""plan(world): what to write, load, release and tell. Pure: the same world gives the same plan.

What the last plan worked out for a model stands until something that it depends on is another one, so that a
change costs what it touches and not what there is. `Planner` keeps that; whatever it planned before, it gives
what `plan` gives for the same world (a test holds this), but for what is decided and not yet written: such an
entry keeps its revision, such a condition its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from tenantry_core.resources import TenantModel, TenantModelStatus
from tenantry_core.slices import Entry, Reference, Target
from tenantry_core.wire import SlotReport
from tenantry_operator.planning.case import Case, is_per_user
from tenantry_operator.planning.claim_book import ClaimBook
from tenantry_operator.planning.claims import Claim, Refusal, admit, wanted_reference
from tenantry_operator.planning.desired import Candidate, Desired
from tenantry_operator.planning.events import model_events
from tenantry_operator.planning.fleet import Fleet
from tenantry_operator.planning.layout import Layout
from tenantry_operator.planning.loads import RESOLVE, VERIFY, WARM, Known, Loads
from tenantry_operator.planning.plan import Event, Plan, Release
from tenantry_operator.planning.pools import pool_statuses
from tenantry_operator.planning.requests import Requests
from tenantry_operator.planning.slicing import revise
from tenantry_operator.planning.statuses import model_status, unavailable
from tenantry_operator.planning.versions import Outcome, decide
from tenantry_operator.planning.waiting import SortedKeys, Waiting
from tenantry_operator.planning.warming import heat_of, warm_instances
from tenantry_operator.planning.world import CheckResult, World
from tenantry_operator.planning.written import Written

Heats = Mapping[str, float]


def plan(world: World) -> Plan:
    """The next step from what is to what was asked for; repeated, it converges to an empty plan."""
    return Planner().plan(world)


class Planner:
    """Plans one world after another."""

    def __init__(self) -> None:
        self._known: _Known | None = None

    def plan(self, world: World) -> Plan:
        ground = _ground(world)
        if self._known is None or self._known.ground != ground:
            self._known = _Known(world, ground)
        return self._known.plan(world)


@dataclass(slots=True)
class _Decision:
    """What was decided about one model, and of what."""

    case: Case
    outcome: Outcome
    slots: frozenset[str]
    """The slots whose state it depends on, and the pool's name."""


def _ground(world: World) -> object:
    """What every model depends on: where this changes, nothing that is known stands."""
    specs = {name: pool.spec for name, pool in world.pools.items()}
    return specs, world.namespace_labels, world.router_url


class _Known:
    """Everything worked out so far on the same ground."""

    def __init__(self, world: World, ground: object) -> None:
        self.ground = ground
        self._models: dict[str, TenantModel] = {}
        """Those that are not being deleted, by key."""
        self._seen: Mapping[str, TenantModel] = {}
        self._results: Mapping[str, tuple[CheckResult, ...]] = {}
        self._written = Written()
        self._claims = ClaimBook(world.pools, world.namespace_labels)
        self._fleet = Fleet()
        self._desired = Desired()
        self._placement: dict[str, tuple[str, ...]] = {}
        self._given: Mapping[str, tuple[str, ...]] | None = None
        """The placement of the last plan."""
        self._decisions: dict[str, _Decision] = {}
        self._entries: dict[str, Entry] = {}
        self._layout = Layout()
        self._unwritten: set[str] = set()
        """Models whose entry is not written as it should be."""
        self._per_pool: Counter[str] = Counter()
        self._failed: dict[str, TenantModelStatus] = {}
        self._told: dict[str, TenantModelStatus] = {}
        """Statuses to write, with those that tell of a failure apart."""
        self._news: dict[str, tuple[Event, ...]] = {}
        self._asking = SortedKeys()
        """Models with loads wanted on certain instances."""
        self._waiting = {RESOLVE: Waiting(), VERIFY: Waiting()}
        """Models that want one slot or another to look at a version, by urgency."""
        self._pinned: set[str] = set()

    def plan(self, world: World) -> Plan:
        changed = self._observe(world)
        entries: dict[str, Entry | None] = {}
        for key in changed:
            before = self._entries.get(key)
            entry = None
            if key in self._models:
                entry = self._decide(key, world)
            else:
                self._forget(key)
            if entry is not before:
                entries[key] = entry
        for key, entry in entries.items():
            self._enter(key, entry)
        for key in changed | entries.keys():
            self._compare(key)
        slices, obsolete = self._layout.update(entries, world.slices)
        requests, heats = Requests(world), heat_of(world.load, world.reports)

        warm = self._request(world, requests, heats)
        requests.wake(self._fleet.wake_at())
        self._given = dict(self._placement)
        return Plan(
            slices=slices,
            obsolete=obsolete,
            statuses=self._failed | self._told,
            pool_statuses=pool_statuses(world, self._per_pool),
            pool_slots={name: self._fleet.running(pool) for name, pool in sorted(world.pools.items())},
            checks=requests.chosen(heats),
            releases=self._releases(),
            warm=warm,
            events=tuple(chain.from_iterable(self._news.values())),
            placement=self._given,
            wake_at=requests.wake_at,
        )

    # What has changed

    def _observe(self, world: World) -> set[str]:
        """Takes the world; gives the models to decide about anew, those that are gone too."""
        models = self._observe_models(world.models)
        written = self._written.update(world.slices)
        slots = self._fleet.update(world, self._written.routed)
        claims = self._claims.update(models.values())
        stale = models.keys() | claims
        results = _differing(self._results, world.results)
        stale |= {(world.results.get(uid) or self._results[uid])[0].check.model for uid in results}
        self._results = world.results
        resumed = world.placement is self._given or world.placement == self._given
        moved = self._desired.update(
            {key: self._candidate(key) for key in stale | written},
            self._fleet.members,
            world.load,
            world.placement,
            resumed=resumed,
        )
        stale |= written | moved
        if slots:
            stale |= {k for k, one in self._decisions.items() if not slots.isdisjoint(one.slots)}
        return stale

    def _observe_models(
        self, models: Mapping[str, TenantModel]
    ) -> dict[str, tuple[TenantModel | None, TenantModel | None]]:
        """Models that are other objects than before, as they were and as they are."""
        changed = {}
        for key in _differing(self._seen, models):
            old, new = self._models.pop(key, None), models.get(key)
            if new is not None and not new.metadata.deletion_timestamp:
                self._models[key] = new
            else:
                new = None
            if old is not None or new is not None:
                changed[key] = old, new
        self._seen = models
        return changed

    def _candidate(self, key: str) -> Candidate | None:
        model = self._models.get(key)
        if model is None or not self._claims.claims[key].listed:
            return None
        return Candidate(model, self._pool(model, self._claims.claims[key]), self._written.entries.get(key))

    # What it means for one model

    def _decide(self, key: str, world: World) -> Entry | None:
        """Decides what is to be done about a model; gives its entry, None where it may not have one."""
        model, claim = self._models[key], self._claims.claims[key]
        case = Case(
            model=model,
            wanted=wanted_reference(model),
            claim=claim,
            entry=self._entry(model),
            barred=self._barred(world, model, claim),
            pool=self._pool(model, claim) if claim.listed else model.spec.pool_ref.name,
            desired=self._desired.slots.get(key, ()),
            fleet=self._fleet,
            loads=Loads(world.results.get(model.metadata.uid, ())),
            now=world.now,
        )
        outcome = decide(case)
        status = model_status(case, outcome, world.router_url)
        routed = {slot for target in case.entry.targets for slot in target.slots} if case.entry else ()
        self._decisions[key] = _Decision(case, outcome, frozenset((case.pool, *case.desired, *routed)))
        self._placement[key] = case.desired
        (self._asking.put if case.loads.wanted else self._asking.drop)(key)
        wanted = {one.urgency for one in case.loads.anywhere}
        for urgency, waiting in self._waiting.items():
            if urgency in wanted:
                waiting.put(key, case.desired)
            else:
                waiting.drop(key)
        (self._pinned.add if model.spec.residency == "Pinned" else self._pinned.discard)(key)
        self._tell(model, status)
        if not claim.listed:
            return None
        return self._revise(_make_entry(case, outcome, status), world.highest_revision)

    def _revise(self, entry: Entry, highest: int) -> Entry:
        """As it is written; else as it was planned before; else with a revision of its own."""
        written, planned = self._written.entries.get(entry.model), self._entries.get(entry.model)
        revised = revise(entry, written, highest)
        if revised is written or planned is None:
            return revised
        newer = written is None or planned.revision > written.revision
        return planned if newer and revise(entry, planned, highest) is planned else revised

    def _entry(self, model: TenantModel) -> Entry | None:
        entry = self._written.entries.get(model.key)
        return entry if entry is not None and entry.uid == model.metadata.uid else None

    def _pool(self, model: TenantModel, claim: Claim) -> str:
        entry = self._entry(model)
        if claim.refusal is not None and entry is not None and entry.targets:
            return entry.pool
        return model.spec.pool_ref.name

    def _barred(self, world: World, model: TenantModel, claim: Claim) -> Refusal | None:
        """May what serves go on? Only asked where the spec itself is refused."""
        entry = self._entry(model)
        if claim.refusal is None or not claim.listed:
            return claim.refusal
        if entry is None or not entry.targets:
            return claim.refusal
        reference = entry.targets[0].reference
        return admit(model, world.pools.get(entry.pool), reference, world.namespace_labels)

    def _forget(self, key: str) -> None:
        """The model is gone, or there never was one."""
        self._decisions.pop(key, None)
        self._placement.pop(key, None)
        self._asking.drop(key)
        for waiting in self._waiting.values():
            waiting.drop(key)
        self._pinned.discard(key)
        for told in (self._failed, self._told, self._news):
            told.pop(key, None)

    def _tell(self, model: TenantModel, status: TenantModelStatus) -> None:
        for told in (self._failed, self._told):
            told.pop(model.key, None)
        self._news.pop(model.key, None)
        if status == model.status:
            return
        failed = any(condition.status == "False" for condition in status.conditions)
        (self._failed if failed else self._told)[model.key] = status
        news = tuple(model_events(model, status))
        if news:
            self._news[model.key] = news

    # What follows for all

    def _enter(self, key: str, entry: Entry | None) -> None:
        before = self._entries.pop(key, None)
        if before is not None:
            self._per_pool[before.pool] -= 1
        if entry is not None:
            self._entries[key] = entry
            self._per_pool[entry.pool] += 1

    def _compare(self, key: str) -> None:
        same = self._entries.get(key) is self._written.entries.get(key)
        (self._unwritten.discard if same else self._unwritten.add)(key)

    def _releases(self) -> tuple[Release, ...]:
        """What slots were routed and are no more; the same bytes under another URI are kept."""
        releases = []
        for key in sorted(key for key in self._unwritten if key in self._written.entries):
            before, after = self._written.entries[key], self._entries.get(key)
            kept = {} if after is None else _routes(after)
            routes = _routes(before)
            gone = sorted(route for route in routes if route not in kept)
            releases += [Release(slot, key, before.tenant, routes[slot, sha]) for slot, sha in gone]
        return tuple(releases)

    def _request(self, world: World, requests: Requests, heats: Heats) -> frozenset[str]:
        """Asks for the loads to start now; gives the instances that may turn ready."""
        for key in self._asking.in_order():
            loads = self._decisions[key].case.loads
            for check, urgency in loads.wanted.items():
                requests.ask(check, loads.known, urgency)
        self._match_residency(world.reports, requests)
        warm = warm_instances(world, self._written.routed, _KnownLoads(self._decisions), requests, heats)
        self._request_anywhere(requests, heats)
        return warm

    def _request_anywhere(self, requests: Requests, heats: Heats) -> None:
        """Unserved models first, then the hottest, as long as there is room."""
        if any(self._waiting.values()):
            requests.wait_for_answers()
        for urgency, waiting in self._waiting.items():
            for slot, keys in waiting.queues():
                instances = self._fleet.ready_instances(slot)
                order = sorted(keys, key=lambda key: -heats.get(key, 0.0)) if heats else keys
                for key in order:
                    case = self._decisions[key].case
                    if not requests.has_room(case.pool, instances):
                        break
                    for wanted in case.loads.anywhere:
                        if wanted.urgency == urgency:
                            requests.ask_one(case, wanted)

    def _match_residency(self, reports: Mapping[str, SlotReport], requests: Requests) -> None:
        """What must stay in memory is loaded wherever a slot does not keep it; what need not, is let go."""
        kept = {
            (slot, warm.model, warm.sha256)
            for slot, report in reports.items()
            for warm in report.models
            if warm.pinned
        }
        for key in sorted(self._pinned | {model for _, model, _ in kept if model in self._decisions}):
            decision = self._decisions[key]
            case, version = decision.case, decision.outcome.version
            if version is None or is_per_user(version.reference):
                continue
            for slot in version.slots:
                is_kept = (slot, key, version.reference.sha256) in kept
                if slot in reports and is_kept != (key in self._pinned):
                    for check in case.checks_on([slot], version.reference):
                        requests.ask(check, case.loads.known, WARM)


class _KnownLoads(Mapping[str, Known]):
    """Results of loads by model key."""

    def __init__(self, decisions: Mapping[str, _Decision]) -> None:
        self._decisions = decisions

    def __getitem__(self, key: str) -> Known:
        return self._decisions[key].case.loads.known

    def __iter__(self) -> Iterator[str]:
        return iter(self._decisions)

    def __len__(self) -> int:
        return len(self._decisions)


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


def _routes(entry: Entry) -> dict[tuple[str, str], Reference]:
    """References by slot and digest."""
    return {
        (slot, target.reference.sha256): target.reference for target in entry.targets for slot in target.slots
    }


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Keys whose values are other objects than before, those that are gone too."""
    if old is new:
        return []
    differing = [key for key, value in new.items() if old.get(key) is not value]
    return differing + [key for key in old if key not in new]
