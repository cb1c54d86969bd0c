"""Placements by the planner's code, and requests to them by the router's, without a process.

Slots are queues with one server each: a request takes its turn at its slot. Times are those of the queues.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tenantry_core.hashing import hash_user
from tenantry_core.resources import Artifact, TenantModelSpec
from tenantry_core.slices import Entry, Reference, Target
from tenantry_core.snapshot import AddressBook, SlotAddress
from tenantry_operator.planning.balance import Loads
from tenantry_operator.planning.placement import BOUND, JOINED_BELOW, place
from tenantry_operator.planning.replicas import replicas_by_load, total_loads, wanted_replicas
from tenantry_router.choose import OVERLOAD, choose
from tenantry_router.fleet import Fleet
from tenantry_router.model import RoutedModel

MODELS = 10_000
RATE = 1000.0
"""Requests per second for each slot."""
WINDOW = 10.0
"""Seconds between two reports of a slot, which rates are computed from."""
USERS = 1000
"""Of each tenant, where tenants have users."""
BUSY = 0.6
"""Share of its time that a slot works."""
POOL = "default"

Placement = dict[str, tuple[str, ...]]
Floats = npt.NDArray[np.float64]
_SPEC = TenantModelSpec(Artifact("s3://models/any.onnx"))


def slot_names(count: int) -> tuple[str, ...]:
    return tuple(f"{POOL}-{number}" for number in range(count))


def popularity(alpha: float, random: np.random.Generator) -> Floats:
    """The share of each model in all requests, by Zipf's law; who is hot has nothing to do with its name."""
    weights = np.arange(1, MODELS + 1, dtype=np.float64) ** -alpha
    shuffled: Floats = random.permutation(weights / weights.sum())
    return shuffled


def model_key(number: int) -> str:
    return f"models.m{number}"


def plan(placed: Placement, rates: Mapping[str, float], slots: Sequence[str]) -> Placement:
    """What a plan makes of these measured rates, as `planning.desired` does."""
    names = [model_key(number) for number in range(MODELS)]
    total = total_loads(rates, dict.fromkeys(names, POOL)).get(POOL, 0.0)
    counts = {}
    for name in names:
        by_load = replicas_by_load(rates.get(name, 0.0), total, len(slots)) if rates else None
        counts[name] = wanted_replicas(_SPEC, len(placed.get(name, ())), by_load, len(slots))
    after = place(counts, placed, slots)
    loads = Loads()
    for name, on in after.items():
        loads.put(name, on, rates.get(name, 0.0))
    held = Counter(slot for on in after.values() for slot in on)
    mean = held.total() / len(slots)
    room = {slot: math.ceil(BOUND * mean) - held[slot] for slot in slots}
    spare = {slot: held[slot] - math.ceil(JOINED_BELOW * mean) for slot in slots}
    return after | loads.moves(room, spare, lambda _: True, lambda name: placed.get(name, ()))


def measured(shares: Floats, slots: int, random: np.random.Generator) -> dict[str, float]:
    """Rates as counters show them between two reports."""
    counts = random.poisson(shares * RATE * slots * WINDOW).tolist()
    return {model_key(number): count / WINDOW for number, count in enumerate(counts) if count}


def settled(shares: Floats, slots: Sequence[str], random: np.random.Generator) -> list[Placement]:
    """The placement without any measurement, and after each of three."""
    placements = [plan({}, {}, slots)]
    for _ in range(3):
        placements.append(plan(placements[-1], measured(shares, len(slots), random), slots))
    return placements


def moved(before: Placement, after: Placement) -> int:
    """Places that are new: each is a model that a slot has to load."""
    return sum(len(set(after[key]) - set(on)) for key, on in before.items())


def places(placed: Placement, slot: str) -> int:
    return sum(slot in on for on in placed.values())


def routed(placed: Placement) -> list[RoutedModel]:
    """The models as routers have them, by number."""
    return [RoutedModel(entry(number, placed[model_key(number)])) for number in range(MODELS)]


def entry(number: int, on: tuple[str, ...]) -> Entry:
    target = Target(Reference("s3://models/any.onnx", "onnx", "0" * 64), on)
    key = model_key(number)
    return Entry(key, str(number), "2026-01-01T00:00:00Z", 1, f"m{number}", POOL, targets=(target,))


@dataclass(frozen=True)
class Spread:
    """How requests came down on slots."""

    worst: float
    """The requests of the busiest slot, by the mean."""
    overflow: float
    """Share of requests that the bound on load sent to another than the first slot."""


class _Queue:
    """Stands for a slot's connections."""

    def __init__(self) -> None:
        self.in_flight = 0

    def close(self) -> None:
        pass


def simulate(
    placed: Placement, slots: Sequence[str], trace: Sequence[int], users: Sequence[int] | None, seed: int = 1
) -> Spread:
    """Requests of models (by number), of tenants as a whole or of these users, at random times."""
    fleet = Fleet(lambda _: _Queue())  # type: ignore[arg-type,return-value]
    fleet.set_addresses(AddressBook(tuple(SlotAddress(slot, POOL, "-", {"http": 1}) for slot in slots)))
    pool, models = fleet.pools[POOL], routed(placed)
    gaps = np.random.default_rng(seed).exponential(1 / RATE / len(slots), len(trace)).tolist()
    ends: list[tuple[float, str]] = []
    free = dict.fromkeys(slots, 0.0)
    counts: Counter[str] = Counter()
    now, overflow = 0.0, 0
    for turn, number in enumerate(trace):
        now += gaps[turn]
        while ends and ends[0][0] <= now:
            pool.slots[heapq.heappop(ends)[1]].upstream.in_flight -= 1
        model = models[number]
        target, key, order = model.targets[0], model.hash, None
        if users is not None:
            key = hash_user(model.tenant, str(users[turn]))
            order = target.ranking.order(key)
        choice = choose(target, pool, order, key)
        assert choice is not None
        slot, name = choice.slot, choice.slot.name
        slot.sent += 1
        slot.upstream.in_flight += 1
        counts[name] += 1
        overflow += choice.reason == OVERLOAD
        free[name] = max(now, free[name]) + BUSY / RATE
        heapq.heappush(ends, (free[name], name))
    return Spread(worst(counts, len(slots)), overflow / len(trace))


def worst(counts: Mapping[str, int], slots: int) -> float:
    """The requests of the busiest slot, by the mean over all slots."""
    return max(counts.values()) * slots / sum(counts.values())
