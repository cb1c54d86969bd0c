"""plan(world): what to write, load, release and tell. Pure: the same world gives the same plan.

What the last plan worked out for a model stands until something that it depends on is another one, so that a
change costs what it touches and not what there is. `Planner` keeps that; whatever it planned before, it gives
what `plan` gives for the same world (a test holds this), but for what is decided and not yet written: such an
entry keeps its revision, such a condition its time.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Set

from tenantry_core.slices import Entry
from tenantry_operator.planning.backlog import SERVED, UNSERVED, WRITTEN, Backlog
from tenantry_operator.planning.changes import Change, Changes
from tenantry_operator.planning.claim_book import ClaimBook
from tenantry_operator.planning.claims import GRANTED
from tenantry_operator.planning.deciding import Decision, decide_model, serving_pool
from tenantry_operator.planning.demand import Demand
from tenantry_operator.planning.desired import Candidate, Desired, has_failed, is_stuck
from tenantry_operator.planning.first import First, Given, first_entries, is_first
from tenantry_operator.planning.fleet import Fleet
from tenantry_operator.planning.plan import Plan
from tenantry_operator.planning.planned import Planned
from tenantry_operator.planning.pools import pool_statuses
from tenantry_operator.planning.requests import Requests
from tenantry_operator.planning.untold import Untold
from tenantry_operator.planning.warming import heat_of, warm_instances
from tenantry_operator.planning.world import CheckResult, World
from tenantry_operator.planning.written import Written

NEWEST = 25
"""Of a portion, one in so many is kept for what was applied last where more has changed than a plan decides
about."""


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
        self._given: Mapping[str, tuple[str, ...]] = {}
        """The placement of the last plan."""
        self._router_url = ""
        self._backlog = Backlog()
        self._decisions: dict[str, Decision | First] = {}
        self._planned = Planned(self._written)
        self._demand = Demand(self._fleet)
        self._untold = Untold()

    def plan(self, world: World) -> Plan:
        changed, gone = self._observe(world)
        first = changed if len(changed) <= self._portion else self._newest(changed)
        self._wait(changed - first)
        taken = self._backlog.take(first, self._portion)
        firsts = self._decide_first(taken, world)
        for key in taken:
            if key not in firsts:
                self._decide(key, world)
        urgent = first | gone if len(gone) <= self._portion else first
        slices, urgent_slices, obsolete = self._planned.fill(world.slices, len(self._desired.slots), urgent)
        requests, heats = Requests(world), heat_of(world.load, world.reports)
        self._demand.ask_certain(world.reports, requests)
        warm = warm_instances(world, self._written.routed, requests, heats)
        self._demand.ask_anywhere(heats, requests)
        requests.wake(self._fleet.wake_at())
        return Plan(
            slices=slices,
            urgent=urgent_slices,
            obsolete=obsolete,
            unwritten=self._planned.unwritten,
            statuses=self._untold,
            pool_statuses=pool_statuses(world, self._planned.per_pool),
            pool_slots={name: self._fleet.running(pool) for name, pool in sorted(world.pools.items())},
            checks=requests.chosen(heats),
            releases=self._planned.releases(),
            warm=warm,
            events=self._untold.events,
            placement=self._given,
            undecided=len(self._backlog),
            wake_at=requests.wake_at,
        )

    # What has changed

    def _observe(self, world: World) -> tuple[set[str], set[str]]:
        """Takes the world; gives the models that have just changed, and those that are gone."""
        models = self._changes.of_models(world.models)
        written = self._written.update(world.slices)
        slots = self._fleet.update(world, self._written.routed)
        claims = self._claims.update(models, world.pools, world.namespace_labels)
        changed = models.keys() | claims | self._changes.of_results(world.results)
        changed |= self._place(changed | {key for key in written if self._is_placed_by_entry(key)}, world)
        changed &= self._changes.models.keys()
        self._forget(models)
        self._keep(written)
        if world.router_url != self._router_url:
            self._router_url = world.router_url
            changed |= self._changes.models.keys()
        self._wait_again(slots, written)
        return changed, models.keys() - self._changes.models.keys()

    def _place(self, keys: Iterable[str], world: World) -> set[str]:
        """Gives the models that are given other slots."""
        resumed = world.placement is self._given or world.placement == self._given
        moved = self._desired.update(
            {key: self._candidate(key, world.results) for key in keys},
            self._fleet.members,
            world.load,
            world.placement,
            resumed=resumed,
        )
        if moved or len(self._given) != len(self._desired.slots):
            self._given = dict(self._desired.slots)
        return moved

    def _candidate(self, key: str, results: Mapping[str, tuple[CheckResult, ...]]) -> Candidate | None:
        model = self._changes.models.get(key)
        if model is None:
            return None
        claim = self._claims.claims[key]
        if not claim.listed:
            return None
        entry = self._own_entry(key) if claim.refusal is not None else None
        known = results.get(model.metadata.uid, ())
        stuck = bool(known) and is_stuck(model, known)
        return Candidate(model, serving_pool(model, claim, entry), has_failed(model), stuck)

    def _is_placed_by_entry(self, key: str) -> bool:
        """Does its place depend on what is written? Elsewhere on what was wanted of it."""
        model = self._changes.models.get(key)
        return model is not None and (self._claims.claims[key].refusal is not None or has_failed(model))

    def _serves_as_placed(self, key: str) -> bool:
        entry = self._planned.entries.get(key)
        slots = {slot for target in entry.targets for slot in target.slots} if entry else None
        return bool(slots) and slots == set(self._desired.slots.get(key, ()))

    def _stands(self, key: str) -> bool:
        """Is it written as it was first decided? That alone changes nothing while its slots are there."""
        decision = self._decisions[key]
        return (
            isinstance(decision, First)
            and self._planned.entries.get(key) is self._written.entries.get(key)
            and all(map(self._fleet.alive, decision.desired))
        )

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

    def _newest(self, keys: Iterable[str]) -> set[str]:
        """What was applied last: who did that while an operator started is likely to look on."""
        models = self._changes.models
        count = int(self._portion) // NEWEST
        return set(heapq.nlargest(count, keys, lambda key: int(models[key].metadata.resource_version or 0)))

    def _wait(self, changed: Iterable[str]) -> None:
        for key in changed:
            settled = key not in self._decisions and self._serves_as_placed(key)
            self._backlog.put(key, SERVED if settled else UNSERVED)

    def _wait_again(self, slots: Set[str], written: Iterable[str]) -> None:
        """Models that depend on these slots, and those whose entry was written, are to be decided about."""
        if slots:
            for key, decision in self._decisions.items():
                if not slots.isdisjoint(decision.slots):
                    self._backlog.put(key, UNSERVED)
        for key in written:
            if key in self._decisions and not self._stands(key):
                self._backlog.put(key, WRITTEN)

    # What it means for one model

    def _decide_first(self, keys: Iterable[str], world: World) -> Mapping[str, First]:
        """Decides about those of which nothing is known but the spec; gives these decisions."""
        given = Given(self._fleet, world.now, world.router_url)
        claims, desired, results = self._claims.claims, self._desired.slots, world.results
        firsts = {
            key: First(model, slots, given)
            for key in keys
            if key not in self._decisions
            and key not in self._written.entries
            and claims[key] is GRANTED
            and (slots := desired.get(key))
            and is_first(model := self._changes.models[key])
            and model.metadata.uid not in results
        }
        self._decisions |= firsts
        self._demand.put_first(firsts)
        self._planned.enter_first(first_entries(firsts, world.highest_revision + 1))
        self._untold.put_first(firsts)
        return firsts

    def _decide(self, key: str, world: World) -> None:
        model, claim = self._changes.models[key], self._claims.claims[key]
        desired = self._desired.slots.get(key, ())
        written = self._own_entry(key)
        decision, status, entry = decide_model(world, model, claim, written, desired, self._fleet)
        self._decisions[key] = decision
        self._demand.put(key, decision)
        self._planned.enter(key, entry and self._planned.revise(entry, world.highest_revision))
        self._untold.put(model, status)
