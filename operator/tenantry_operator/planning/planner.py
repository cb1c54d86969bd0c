"""plan(world): what to write, load, release and tell. Pure: the same world gives the same plan.

What the last plan worked out for a model stands until something that it depends on is another one, so that a
change costs what it touches and not what there is. `Planner` keeps that; whatever it planned before, it gives
what `plan` gives for the same world (a test holds this), but for what is decided and not yet written: such an
entry keeps its revision, such a condition its time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set

from tenantry_core.slices import Entry
from tenantry_operator.planning.backlog import SERVED, UNSERVED, WRITTEN, Backlog
from tenantry_operator.planning.changes import Change, Changes
from tenantry_operator.planning.claim_book import ClaimBook
from tenantry_operator.planning.deciding import Decision, decide_model, serving_pool
from tenantry_operator.planning.demand import Demand
from tenantry_operator.planning.desired import Candidate, Desired, has_failed
from tenantry_operator.planning.fleet import Fleet
from tenantry_operator.planning.plan import Plan
from tenantry_operator.planning.planned import Planned
from tenantry_operator.planning.pools import pool_statuses
from tenantry_operator.planning.requests import Requests
from tenantry_operator.planning.untold import Untold
from tenantry_operator.planning.warming import heat_of, warm_instances
from tenantry_operator.planning.world import World
from tenantry_operator.planning.written import Written


def plan(world: World) -> Plan:
    """The next step from what is to what was asked for; repeated, it converges to an empty plan."""
    return Planner().plan(world)


class Planner:
    """Plans one world after another.

    With a `portion`, a plan decides about so many models of those that have just changed, and as many of the
    others. It says how many are left, for the next plan; until then what serves, serves. Places are found for
    all at once.
    """

    def __init__(self, portion: float = math.inf) -> None:
        self._portion = portion
        self._changes = Changes()
        self._written = Written()
        self._claims = ClaimBook()
        self._fleet = Fleet()
        self._desired = Desired(self._written.entries)
        self._given: Mapping[str, tuple[str, ...]] | None = None
        """The placement of the last plan."""
        self._router_url = ""
        self._backlog = Backlog()
        self._decisions: dict[str, Decision] = {}
        self._planned = Planned(self._written)
        self._demand = Demand(self._fleet)
        self._untold = Untold()

    def plan(self, world: World) -> Plan:
        changed = self._observe(world)
        for key in self._backlog.take(changed, self._portion):
            self._decide(key, world)
        slices, obsolete = self._planned.fill(world.slices, len(self._desired.slots))
        requests, heats = Requests(world), heat_of(world.load, world.reports)
        self._demand.ask_certain(world.reports, requests)
        warm = warm_instances(world, self._written.routed, requests, heats)
        self._demand.ask_anywhere(heats, requests)
        requests.wake(self._fleet.wake_at())
        self._given = dict(self._desired.slots)
        return Plan(
            slices=slices,
            obsolete=obsolete,
            unwritten=frozenset(self._planned.unwritten),
            statuses=self._untold.statuses(),
            pool_statuses=pool_statuses(world, self._planned.per_pool),
            pool_slots={name: self._fleet.running(pool) for name, pool in sorted(world.pools.items())},
            checks=requests.chosen(heats),
            releases=self._planned.releases(),
            warm=warm,
            events=self._untold.events(),
            placement=self._given,
            undecided=len(self._backlog),
            wake_at=requests.wake_at,
        )

    # What has changed

    def _observe(self, world: World) -> set[str]:
        """Takes the world; gives the models that have just changed, which wait to be decided about."""
        models = self._changes.of_models(world.models)
        written = self._written.update(world.slices)
        slots = self._fleet.update(world, self._written.routed)
        claims = self._claims.update(models.values(), world.pools, world.namespace_labels)
        changed = models.keys() | claims | self._changes.of_results(world.results)
        changed |= self._place(changed | {key for key in written if self._is_placed_by_entry(key)}, world)
        changed &= self._changes.models.keys()
        self._forget(models)
        self._keep(written)
        if world.router_url != self._router_url:
            self._router_url = world.router_url
            changed |= self._changes.models.keys()
        self._wait(changed=changed, slots=slots, written=written)
        return changed

    def _place(self, keys: Iterable[str], world: World) -> set[str]:
        """Gives the models that are given other slots."""
        resumed = world.placement is self._given or world.placement == self._given
        return self._desired.update(
            {key: self._candidate(key) for key in keys},
            self._fleet.members,
            world.load,
            world.placement,
            resumed=resumed,
        )

    def _candidate(self, key: str) -> Candidate | None:
        model = self._changes.models.get(key)
        if model is None or not self._claims.claims[key].listed:
            return None
        return Candidate(model, serving_pool(model, self._claims.claims[key], self._own_entry(key)))

    def _is_placed_by_entry(self, key: str) -> bool:
        """Does its place depend on what is written? Elsewhere on what was wanted of it."""
        model = self._changes.models.get(key)
        return model is not None and (self._claims.claims[key].refusal is not None or has_failed(model))

    def _serves_as_placed(self, key: str) -> bool:
        entry = self._planned.entries.get(key)
        slots = {slot for target in entry.targets for slot in target.slots} if entry else None
        return bool(slots) and slots == set(self._desired.slots.get(key, ()))

    def _own_entry(self, key: str) -> Entry | None:
        """What is written for this very object; an entry of another uid is none."""
        entry, model = self._written.entries.get(key), self._changes.models.get(key)
        return entry if entry and model and entry.uid == model.metadata.uid else None

    def _forget(self, models: Mapping[str, Change]) -> None:
        """What was decided about objects that are gone, or replaced by others of the same name."""
        for key, (old, new) in models.items():
            if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
                self._decisions.pop(key, None)
                self._backlog.drop(key)
                self._demand.drop(key)
                self._untold.drop(key)
                self._planned.enter(key, None)

    def _keep(self, written: Iterable[str]) -> None:
        """What was never decided about goes on as it is written."""
        for key in written:
            if key in self._decisions:
                self._planned.compare(key)
            else:
                self._planned.enter(key, self._own_entry(key))

    def _wait(self, *, changed: Iterable[str], slots: Set[str], written: Iterable[str]) -> None:
        """These models, and those that depend on these slots, are to be decided about."""
        for key in changed:
            settled = key not in self._decisions and self._serves_as_placed(key)
            self._backlog.put(key, SERVED if settled else UNSERVED)
        if slots:
            for key, decision in self._decisions.items():
                if not slots.isdisjoint(decision.slots):
                    self._backlog.put(key, UNSERVED)
        for key in written:
            if key in self._decisions:
                self._backlog.put(key, WRITTEN)

    # What it means for one model

    def _decide(self, key: str, world: World) -> None:
        model, claim = self._changes.models[key], self._claims.claims[key]
        desired = self._desired.slots.get(key, ())
        decision, status, entry = decide_model(
            world, model, claim, self._own_entry(key), desired, self._fleet
        )
        self._decisions[key] = decision
        self._demand.put(key, decision)
        self._untold.put(model, status)
        self._planned.enter(key, entry and self._planned.revise(entry, world.highest_revision))
