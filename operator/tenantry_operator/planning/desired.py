"""The slots that each model should be on in the end, kept up from one plan to the next."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import chain

import msgspec

from tenantry_core.artifacts import USER_PLACEHOLDER
from tenantry_core.resources import TenantModel
from tenantry_core.slices import Entry
from tenantry_operator.planning.balance import Loads
from tenantry_operator.planning.placement import BOUND, JOINED_BELOW, place, place_some
from tenantry_operator.planning.replicas import replicas_by_load, total_loads, wanted_replicas
from tenantry_operator.planning.world import CheckFailure, CheckResult

Placement = Mapping[str, tuple[str, ...]]
Members = Mapping[str, tuple[str, ...]]
Rates = Mapping[str, float] | None


class Candidate(msgspec.Struct, frozen=True):
    """A model that may be placed."""

    model: TenantModel
    pool: str
    failed: bool
    """The wanted version does not serve."""
    stuck: bool
    """A slot has failed to load what it serves: to move it by load would only break it."""

    @property
    def may_move(self) -> bool:
        """By load, that is: off a slot that goes on serving it."""
        return not (self.failed or self.stuck)

    @property
    def is_everywhere(self) -> bool:
        """One that is many users' is on the whole pool."""
        return USER_PLACEHOLDER in self.model.spec.artifact.uri


def has_failed(model: TenantModel) -> bool:
    """Does its status say that the wanted version does not serve?"""
    ready = model.status.condition("Ready")
    return ready is not None and ready.status == "False"


def is_stuck(model: TenantModel, results: Iterable[CheckResult]) -> bool:
    """Has a slot failed to load what the model's spec names?"""
    wanted = model.spec.artifact.uri
    return any(
        isinstance(result.outcome, CheckFailure) and result.check.reference.uri == wanted
        for result in results
    )


class Desired:
    """Finds a place for what has changed; for all models of a pool where that takes moving others."""

    def __init__(self, written: Mapping[str, Entry]) -> None:
        """`written` is what is written by model key, kept up by another."""
        self._written = written
        self.slots: dict[str, tuple[str, ...]] = {}
        """By model key, sorted. A model that is many users' is on the whole pool."""
        self._candidates: dict[str, Candidate] = {}
        self._counts: dict[str, dict[str, int]] = {}
        """Replicas by model, by pool; without those on the whole pool."""
        self._held: dict[str, Counter[str]] = {}
        """How many of these models each slot holds, by pool."""
        self._members: Members = {}
        self._load: Rates = None
        self._totals: dict[str, float] = {}
        """Requests per second of each pool."""
        self._loads: defaultdict[str, Loads] = defaultdict(Loads)
        """The same by slot, by pool."""
        self._unsettled: set[str] = set()
        """Models that count as placed elsewhere: see `_current`."""

    def update(
        self,
        changed: Mapping[str, Candidate | None],
        members: Members,
        load: Rates,
        before: Placement,
        *,
        resumed: bool,
    ) -> set[str]:
        """Takes what has changed (None: not to be placed); gives the models that were given other slots.

        `before` is where the last plan wanted models; unless that is what this object gave (`resumed`), all
        are placed anew.
        """
        pools = {one.pool for one in changed.values() if one is not None}
        shifted = set()
        for key, candidate in changed.items():
            known = self._candidates.get(key)
            if known is not None:
                pools.add(known.pool)
                self._take_out(key)
            if known is None or candidate is None or known.pool != candidate.pool:
                shifted.add(key)
            if candidate is None:
                self._candidates.pop(key, None)
                self.slots.pop(key, None)
            else:
                self._candidates[key] = candidate
        busy: set[str] = set()
        stale = {key for key in self._unsettled | changed.keys() if key in self._candidates}
        if load is not self._load or (load is not None and shifted & load.keys()):
            self._measure(load)
            stale |= {
                key
                for key in self._candidates
                if self._known_count(key) != self._count(key, members, self._current(key, before))
            }
            busy = set(self._loads)
        whole = not resumed or members != self._members
        self._members = members
        by_pool: dict[str, list[str]] = {pool: [] for pool in pools}
        for key in self._candidates if whole else stale:
            by_pool.setdefault(self._candidates[key].pool, []).append(key)
        moved = {key for pool, keys in by_pool.items() for key in self._place(pool, keys, before)}
        return moved | {key for pool in by_pool.keys() | busy for key in self._balance(pool, before)}

    def _measure(self, load: Rates) -> None:
        """Take the requests per second of each model."""
        self._load = load
        self._totals = total_loads(load, {key: one.pool for key, one in self._candidates.items()})
        self._loads.clear()
        for key, rate in (load or {}).items():
            candidate = self._candidates.get(key)
            if candidate is not None:
                self._loads[candidate.pool].put(key, self.slots.get(key, ()), rate)

    def _place(self, pool: str, keys: Collection[str], before: Placement) -> set[str]:
        """Give these a place, and all others of the pool where that takes it; gives those that move."""
        rest = self._counts.setdefault(pool, {})
        for key in rest.keys() & keys:
            self._take_out(key)
        names = self._members.get(pool, ())
        current = {key: self._current(key, before) for key in keys}
        counts = {key: self._count(key, self._members, now) for key, now in current.items()}
        slots = {key: names for key, count in counts.items() if count is None}
        some = {key: count for key, count in counts.items() if count is not None}
        held = self._held.setdefault(pool, Counter())
        placed = place_some(some, current, names, held) if rest else None
        if placed is None:
            some |= rest
            held.clear()
            current |= {key: self._current(key, before) for key in rest}
            placed = place(some, current, names)
        rest |= some
        held.update(chain.from_iterable(placed.values()))
        slots |= placed
        self._unsettled -= slots.keys()
        self._unsettled |= {
            key
            for key, places in placed.items()
            if self._candidates[key].failed and set(self._routed(key)) != set(places)
        }
        for key in slots.keys() & (self._load or {}).keys():
            self._loads[pool].put(key, slots[key], self._rate(key))
        moved = {key for key, places in slots.items() if self.slots.get(key) != places}
        self.slots |= slots
        return moved

    def _balance(self, pool: str, before: Placement) -> dict[str, tuple[str, ...]]:
        """Move what overloaded slots have too much of; gives what moves, and where to.

        No slot is left with so few models that `place` would take it for one that has joined.
        """
        names, counts = self._members.get(pool, ()), self._counts.setdefault(pool, {})
        held = self._held.setdefault(pool, Counter())
        mean = held.total() / max(1, len(names))
        most, fewest = math.ceil(BOUND * mean), math.ceil(JOINED_BELOW * mean)
        moves = self._loads[pool].moves(
            {name: most - held[name] for name in names},
            {name: held[name] - fewest for name in names},
            lambda key: key in counts and self._candidates[key].may_move,
            lambda key: self._current(key, before),
        )
        for key, places in moves.items():
            held.subtract(self.slots[key])
            held.update(places)
            self.slots[key] = places
            self._loads[pool].put(key, places, self._rate(key))
        return moves

    def _rate(self, key: str) -> float:
        return 0.0 if self._load is None else self._load.get(key, 0.0)

    def _take_out(self, key: str) -> None:
        """It holds no place any more."""
        pool = self._candidates[key].pool
        if self._load is not None:
            self._loads[pool].drop(key)
        if self._counts.get(pool, {}).pop(key, None) is not None:
            held = self._held[pool]
            for slot in self.slots[key]:
                held[slot] -= 1

    def _known_count(self, key: str) -> int | None:
        return self._counts.get(self._candidates[key].pool, {}).get(key)

    def _count(self, key: str, members: Members, current: Collection[str]) -> int | None:
        """How many slots a model gets that is on these now; None for all of the pool."""
        candidate = self._candidates[key]
        if candidate.is_everywhere:
            return None
        size = len(members.get(candidate.pool, ()))
        by_load = None
        if self._load is not None:
            by_load = replicas_by_load(self._rate(key), self._totals.get(candidate.pool, 0.0), size)
        return wanted_replicas(candidate.model.spec, len(current), by_load, size)

    def _current(self, key: str, before: Placement) -> tuple[str, ...]:
        """Where a model is placed already: as the last plan wanted it, else as it is written.

        What failed is only where it is written. So it would be after a restart, and finding it a place
        anew must not begin to move others only then.
        """
        known = None if self._candidates[key].failed else before.get(key)
        return self._routed(key) if known is None else known

    def _routed(self, key: str) -> tuple[str, ...]:
        entry = self._written.get(key)
        return tuple([slot for target in entry.targets for slot in target.slots]) if entry else ()
