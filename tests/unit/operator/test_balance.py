"""Measured load: brought below the bound with few moves, and left alone then."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_operator.planning.balance import LOAD_BOUND, Loads
from tenantry_operator.planning.placement import BOUND, JOINED_BELOW, place
from tenantry_operator.planning.replicas import HOT, replicas_by_load

Placed = dict[str, tuple[str, ...]]
Rates = dict[str, float]

NOWHERE: Placed = {}


def slot_names(count: int) -> list[str]:
    return [f"p-{number}" for number in range(count)]


def room(placed: Placed, slots: list[str]) -> dict[str, int]:
    held = Counter(slot for on in placed.values() for slot in on)
    capacity = math.ceil(BOUND * held.total() / len(slots))
    return {slot: capacity - held[slot] for slot in slots}


def spare(placed: Placed, slots: list[str]) -> dict[str, int]:
    held = Counter(slot for on in placed.values() for slot in on)
    fewest = math.ceil(JOINED_BELOW * held.total() / len(slots))
    return {slot: held[slot] - fewest for slot in slots}


def moves(placed: Placed, rates: Rates, slots: list[str], current: Mapping[str, tuple[str, ...]]) -> Placed:
    loads = Loads()
    for model, on in placed.items():
        loads.put(model, on, rates.get(model, 0.0))
    return loads.moves(
        room(placed, slots), spare(placed, slots), lambda model: True, lambda model: current.get(model, ())
    )


def loads_of(placed: Placed, rates: Rates, slots: list[str]) -> dict[str, float]:
    return {s: sum(rates.get(m, 0.0) / len(on) for m, on in placed.items() if s in on) for s in slots}


def spread(placed: Placed, rates: Rates, slots: list[str]) -> float:
    """The load of the busiest slot by the mean."""
    loads = loads_of(placed, rates, slots)
    return max(loads.values()) * len(slots) / sum(loads.values())


def zipf(models: int, alpha: float, total: float) -> Rates:
    weights = {f"ns.m{rank}": 1 / (rank + 1) ** alpha for rank in range(models)}
    return {model: total * weight / sum(weights.values()) for model, weight in weights.items()}


def place_by_load(rates: Rates, slots: list[str], current: Placed) -> Placed:
    total = sum(rates.values())
    counts = {model: max(1, replicas_by_load(rate, total, len(slots))) for model, rate in rates.items()}
    return place(counts, current, slots)


rates_of_some = st.dictionaries(st.integers(0, 60).map(lambda n: f"ns.m{n}"), st.floats(0.0, 5000.0))
fleets = st.integers(1, 8).map(slot_names)


@settings(deadline=None)
@given(rates_of_some, fleets, st.data())
def test_moves_bring_load_down_and_keep_the_bound_on_models(
    rates: Rates, slots: list[str], data: st.DataObject
) -> None:
    replicas = {f"ns.m{n}": data.draw(st.integers(1, 3)) for n in range(60)}
    placed = place(replicas, {}, slots)
    moved = moves(placed, rates, slots, placed)
    after = placed | moved
    assert {model: len(set(on)) for model, on in after.items()} == {m: len(on) for m, on in placed.items()}
    assert all(left >= min(0, room(placed, slots)[slot]) for slot, left in room(after, slots).items())
    assert all(left >= min(0, spare(placed, slots)[slot]) for slot, left in spare(after, slots).items())
    before_load, after_load = loads_of(placed, rates, slots), loads_of(after, rates, slots)
    mean = sum(before_load.values()) / len(slots)
    for slot in slots:
        assert after_load[slot] <= max(before_load[slot], LOAD_BOUND * mean) + 1e-6
        if before_load[slot] <= max(HOT, LOAD_BOUND * mean):
            assert all(slot in after[model] for model, on in placed.items() if slot in on)
    assert moves(after, rates, slots, after) == {}, "once moved, nothing moves again"


@settings(deadline=None, max_examples=10)
@given(st.integers(4, 12), st.floats(1000.0, 10_000.0))
def test_what_has_moved_by_load_is_not_drawn_back(count: int, rate: float) -> None:
    slots, rates = slot_names(count), {f"ns.m{n}": 50.0 for n in range(25 * count)} | {"ns.m0": rate}
    placed = place(dict.fromkeys(rates, 1), {}, slots)
    after = placed | moves(placed, rates, slots, placed)
    assert after != placed
    assert place(dict.fromkeys(rates, 1), after, slots) == after


@settings(deadline=None, max_examples=10)
@given(st.sampled_from([0.8, 1.0, 1.2]), st.sampled_from([5, 10, 20]))
def test_skewed_load_is_even_over_the_slots_in_the_end(alpha: float, count: int) -> None:
    slots, rates = slot_names(count), zipf(2000, alpha, 1000.0 * count)
    placed = place_by_load(rates, slots, NOWHERE)
    moved = moves(placed, rates, slots, placed)
    assert spread(placed | moved, rates, slots) <= LOAD_BOUND
    assert len(moved) <= 4 * count


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_noise_moves_hardly_anything_and_less_and_less(seed: int) -> None:
    random = Random(seed)
    slots, rates = slot_names(10), zipf(2000, 1.0, 10_000.0)
    placed = place_by_load(rates, slots, NOWHERE)
    placed |= moves(placed, rates, slots, placed)
    counts = []
    for _ in range(20):
        noisy = {model: rate * random.uniform(0.9, 1.1) for model, rate in rates.items()}
        moved = moves(placed, noisy, slots, placed)
        placed |= moved
        counts.append(len(moved))
    assert sum(counts) <= len(slots)
    assert not any(counts[10:])


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 9))
def test_what_a_lost_slot_leaves_evens_the_load_and_nothing_else_moves(lost: int) -> None:
    slots, rates = slot_names(10), zipf(3000, 1.0, 10_000.0)
    placed = place_by_load(rates, slots, NOWHERE)
    placed |= moves(placed, rates, slots, placed)
    left = [slot for slot in slots if slot != slots[lost]]
    after = place({model: len(on) for model, on in placed.items()}, placed, left)
    after |= moves(after, rates, left, placed)
    own = {model for model, on in placed.items() if slots[lost] in on}
    changed = {model for model in placed if after[model] != placed[model]}
    assert len(changed) <= 1.02 * len(own)
    assert spread(after, rates, left) <= LOAD_BOUND


def test_idle_slots_are_left_alone() -> None:
    slots = slot_names(2)
    placed: Placed = {"ns.a": ("p-0",), "ns.b": ("p-0",)}
    assert moves(placed, {"ns.a": 45.0, "ns.b": 45.0}, slots, placed) == {}
    assert moves(placed, {"ns.a": 450.0, "ns.b": 450.0}, slots, placed) == {"ns.a": ("p-1",)}
