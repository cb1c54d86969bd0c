"""Placement: bounded, sticky, moving as little as can be, and the same for the same inputs."""

from __future__ import annotations

import math
import random
import time
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_core.hashing import hash_name, rank
from tenantry_operator.planning.placement import BOUND, place, place_some

Placed = dict[str, tuple[str, ...]]

model_names = st.integers(0, 10_000).map(lambda i: f"ns.m{i}")
demands = st.dictionaries(model_names, st.integers(1, 4), max_size=60)
fleets = st.integers(1, 12).map(lambda n: [f"default-{i}" for i in range(n)])


def bound(placed: Placed, slots: list[str]) -> int:
    return math.ceil(BOUND * sum(map(len, placed.values())) / len(slots))


def held(placed: Placed, slot: str) -> int:
    return sum(slot in slots for slots in placed.values())


def check(placed: Placed, demand: dict[str, int], slots: list[str]) -> None:
    assert {m: len(s) for m, s in placed.items()} == {m: min(n, len(slots)) for m, n in demand.items()}
    assert all(len(set(s)) == len(s) and set(s) <= set(slots) for s in placed.values())
    assert all(held(placed, slot) <= bound(placed, slots) for slot in slots)


def moves(before: Placed, after: Placed) -> int:
    """How many places are new, over all models that were there before."""
    return sum(len(set(slots) - set(before[m])) for m, slots in after.items() if m in before)


@given(demands, fleets)
def test_every_model_gets_its_replicas_within_the_bound(demand: dict[str, int], slots: list[str]) -> None:
    check(place(demand, {}, slots), demand, slots)


@given(demands, fleets, st.randoms(use_true_random=False))
def test_the_order_of_the_inputs_plays_no_part(
    demand: dict[str, int], slots: list[str], mixer: random.Random
) -> None:
    placed = place(demand, {}, slots)
    items, current = list(demand.items()), list(placed.items())
    for values in (items, current, slots):
        mixer.shuffle(values)
    assert place(dict(items), {}, slots) == placed
    assert place(dict(items), dict(current), slots) == place(demand, placed, sorted(slots))


@given(demands, fleets)
def test_what_is_placed_stays(demand: dict[str, int], slots: list[str]) -> None:
    placed = place(demand, {}, slots)
    assert place(demand, placed, slots) == placed


@given(demands, demands, fleets)
def test_any_placement_becomes_a_good_one_and_then_stays(
    demand: dict[str, int], before: dict[str, int], slots: list[str]
) -> None:
    current = place(before, {}, slots[: len(slots) // 2 + 1])
    placed = place(demand, current, slots)
    check(placed, demand, slots)
    assert place(demand, placed, slots) == placed


@given(demands, model_names, fleets)
def test_a_new_model_moves_no_other(demand: dict[str, int], name: str, slots: list[str]) -> None:
    demand.pop(name, None)
    placed = place(demand, {}, slots)
    assert moves(placed, place(demand | {name: 1}, placed, slots)) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(500, 3000), st.integers(2, 20))
def test_a_lost_slot_moves_its_share_and_no_more(models: int, count: int) -> None:
    slots = [f"default-{i}" for i in range(count)]
    demand = {f"ns.m{i}": 1 for i in range(models)}
    placed = place(demand, {}, slots)
    after = place(demand, placed, slots[1:])
    check(after, demand, slots[1:])
    assert moves(placed, after) <= 1.02 * held(placed, slots[0])


@settings(max_examples=20, deadline=None)
@given(st.integers(500, 3000), st.integers(1, 20))
def test_a_slot_that_joins_draws_its_fair_share_and_no_more(models: int, count: int) -> None:
    slots = [f"default-{i}" for i in range(count)]
    demand = {f"ns.m{i}": 1 for i in range(models)}
    placed = place(demand, {}, slots)
    grown = [*slots, "default-new"]
    after = place(demand, placed, grown)
    check(after, demand, grown)
    share = held(after, "default-new")
    assert 0.8 * models / len(grown) <= share <= models / len(grown)
    assert moves(placed, after) <= 1.02 * models / len(grown)
    drawn = [m for m, s in after.items() if s != placed[m]]
    assert all(rank(hash_name(m), grown)[0] == "default-new" for m in drawn if after[m] == ("default-new",))


@settings(max_examples=20, deadline=None)
@given(st.integers(500, 3000), st.integers(2, 10))
def test_a_slot_that_comes_back_takes_no_more_than_its_share(models: int, count: int) -> None:
    slots = [f"default-{i}" for i in range(count)]
    demand = {f"ns.m{i}": 1 for i in range(models)}
    placed = place(demand, {}, slots)
    without = place(demand, placed, slots[1:])
    back = place(demand, without, slots)
    assert held(back, slots[0]) > 0.7 * held(placed, slots[0])
    assert moves(without, back) <= 1.02 * models / count


@settings(max_examples=20, deadline=None)
@given(st.integers(500, 3000), st.integers(2, 10))
def test_many_that_must_find_a_place_move_nobody_who_has_one(models: int, count: int) -> None:
    """After a restart, what failed is known to be nowhere, and may be most of all models."""
    slots = [f"default-{i}" for i in range(count)]
    demand = {f"ns.m{i}": 1 for i in range(models)}
    serving = {f"ns.m{i}": (slots[i % count],) for i in range(models // 4)}
    after = place(demand, serving, slots)
    check(after, demand, slots)
    assert {model: after[model] for model in serving} == serving


def test_hot_models_can_have_more_slots_and_give_them_back() -> None:
    slots = [f"default-{i}" for i in range(8)]
    demand = {f"ns.m{i}": 1 for i in range(100)}
    placed = place(demand, {}, slots)
    hot = place(demand | {"ns.m7": 4}, placed, slots)
    assert set(placed["ns.m7"]) < set(hot["ns.m7"])
    assert moves(placed, hot) == 3
    cool = place(demand, hot, slots)
    assert len(cool["ns.m7"]) == 1
    assert set(cool["ns.m7"]) < set(hot["ns.m7"])


def test_without_slots_nobody_is_placed() -> None:
    assert place({"ns.a": 1}, {"ns.a": ("default-0",)}, []) == {"ns.a": ()}


def test_a_hundred_thousand_models_are_placed_in_a_moment() -> None:
    demand = {f"ns.m{i}": 1 for i in range(100_000)}
    slots = [f"default-{i}" for i in range(100)]
    began = time.process_time()
    place(demand, {}, slots)
    assert time.process_time() - began < 5, "it takes about half a second on a core of its own"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_some_find_the_place_that_they_have_among_all(data: st.DataObject) -> None:
    slots = [f"p-{n}" for n in range(data.draw(st.integers(1, 6)))]
    replicas = {f"ns.m{n}": data.draw(st.integers(1, 3)) for n in range(data.draw(st.integers(0, 40)))}
    placed = place(replicas, {}, slots)
    some = {key: data.draw(st.integers(1, 3)) for key in replicas if data.draw(st.booleans())}
    some |= {f"ns.new{n}": 1 for n in range(data.draw(st.integers(0, 3)))}
    gone = {key for key in replicas if key not in some and data.draw(st.integers(0, 9)) == 0}
    rest = {key: count for key, count in replicas.items() if key not in some and key not in gone}
    held = Counter(slot for key in rest for slot in placed[key])
    found = place_some(some, placed, slots, held)
    if found is not None:
        assert found | {key: placed[key] for key in rest} == place(rest | some, placed, slots)


def test_one_more_model_is_placed_without_the_rest() -> None:
    slots = [f"p-{n}" for n in range(10)]
    placed = place({f"ns.m{n}": 1 for n in range(500)}, {}, slots)
    held = Counter(slot for on in placed.values() for slot in on)
    assert place_some({"ns.new": 1}, {}, slots, held) is not None
