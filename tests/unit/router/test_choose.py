"""Which slot answers."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tenantry_core.hashing import hash_user, rank
from tenantry_router.choose import ALWAYS_ALLOWED, LOAD_BOUND, candidates, choose
from tenantry_router.fleet import LATELY, SlotPool
from tenantry_router.model import RoutedTarget
from tenantry_router.rendezvous import Ranking
from unit.router.worlds import FakeUpstream, fleet, target

names = st.lists(st.integers(0, 40).map(lambda n: f"p-{n}"), min_size=1, max_size=25, unique=True)
keys = st.integers(0, 2**64 - 1)


def load(pool: SlotPool, **in_flight: int) -> None:
    for name, count in in_flight.items():
        upstream = pool.slots[name.replace("_", "-")].upstream
        assert isinstance(upstream, FakeUpstream)
        upstream.in_flight = count


def of_user(placed: RoutedTarget, pool: SlotPool, user: int) -> str:
    key = hash_user("acme", str(user))
    choice = choose(placed, pool, placed.ranking.order(key), key)
    assert choice is not None
    return choice.slot.name


@given(names, keys)
def test_the_order_is_the_one_that_all_parts_agree_on(slots: list[str], key: int) -> None:
    assert list(Ranking(slots).order(key)) == rank(key, slots)


@given(names, keys, st.data())
def test_candidates_are_the_placement_then_the_rest_of_the_pool_in_rendezvous_order(
    slots: list[str], key: int, data: st.DataObject
) -> None:
    placement = data.draw(st.lists(st.sampled_from(slots), min_size=1, unique=True))
    out = data.draw(st.sets(st.sampled_from(slots)))
    pool = fleet(slots).pools["p"]
    for name in out:
        pool.slots[name].ejected = True
    well = [slot for slot in rank(key, placement) if slot not in out]
    well += [slot for slot in rank(key, slots) if slot not in out and slot not in placement]
    ill = [slot for slot in rank(key, placement) if slot in out]
    ill += [slot for slot in rank(key, slots) if slot in out and slot not in placement]
    choices = list(candidates(target(placement), pool, rank(key, placement), key))
    assert [choice.slot.name for choice in choices] == well + ill
    assert [choice.reason == "last-resort" for choice in choices] == [False] * len(well) + [True] * len(ill)
    assert (choices[0].reason == "primary") == (rank(key, placement)[0] not in out)


@given(names, keys, st.data())
def test_no_slot_is_chosen_above_the_bound(slots: list[str], key: int, data: st.DataObject) -> None:
    pool = fleet(slots).pools["p"]
    for slot in pool.slots.values():
        slot.upstream.in_flight = data.draw(st.integers(0, 30))
    choice = choose(target(slots), pool, rank(key, slots), key)
    assert choice is not None
    after = choice.slot.in_flight + 1
    mean = (1 + sum(slot.in_flight for slot in pool.slots.values())) / len(slots)
    assert after <= ALWAYS_ALLOWED or after < LOAD_BOUND * mean + 1
    passed = rank(key, slots)[: rank(key, slots).index(choice.slot.name)]
    assert all(pool.slots[name].in_flight >= max(ALWAYS_ALLOWED, LOAD_BOUND * mean) for name in passed)
    assert choice.reason == ("overload" if passed else "primary")


def test_below_a_handful_of_requests_a_user_stays_with_its_slot() -> None:
    pool = fleet(["p-0", "p-1"]).pools["p"]
    key = next(key for key in range(100) if rank(key, ["p-0", "p-1"])[0] == "p-0")
    load(pool, p_0=ALWAYS_ALLOWED - 1, p_1=0)
    choice = choose(target(["p-0", "p-1"]), pool, rank(key, ["p-0", "p-1"]), key)
    assert choice is not None
    assert (choice.slot.name, choice.reason) == ("p-0", "primary")


def send(placed: RoutedTarget, pool: SlotPool) -> str:
    """A request without a user, answered before the next one."""
    choice = choose(placed, pool, None, 0)
    assert choice is not None
    choice.slot.sent += 1
    if choice.slot.sent >= LATELY:
        pool.halve_sent()
    return choice.slot.name


def test_without_a_user_the_least_loaded_is_taken_and_equals_take_turns() -> None:
    pool = fleet(["p-0", "p-1", "p-2", "p-3"]).pools["p"]
    load(pool, p_0=3, p_1=1, p_2=1, p_3=0)
    placed = target(["p-0", "p-1", "p-2"])
    chosen = Counter(send(placed, pool) for _ in range(10))
    assert chosen == {"p-1": 5, "p-2": 5}


@given(st.integers(1, 3))
def test_what_can_go_anywhere_fills_up_what_cannot(times: int) -> None:
    pool = fleet(["p-0", "p-1", "p-2"]).pools["p"]
    anywhere, bound = target(["p-0", "p-1", "p-2"]), target(["p-1"])
    sent = Counter(send(placed, pool) for _ in range(2000 * times) for placed in (bound, anywhere, anywhere))
    assert max(sent.values()) - min(sent.values()) <= LATELY


def test_a_slot_that_joins_is_not_flooded_to_catch_up() -> None:
    names = ["p-0", "p-1", "p-2"]
    pool = fleet(names).pools["p"]
    for name in names[:2]:
        pool.slots[name].sent = 1_000_000
    sent = Counter(send(target(names), pool) for _ in range(10_000))
    assert sent["p-2"] < 6000


def test_users_are_spread_evenly() -> None:
    slots = [f"p-{n}" for n in range(8)]
    pool = fleet(slots).pools["p"]
    placed = target(slots)
    chosen = Counter(of_user(placed, pool, user) for user in range(8000))
    assert max(chosen.values()) < 1.2 * 1000
    assert min(chosen.values()) > 0.8 * 1000


def test_a_slot_that_leaves_moves_only_its_own_users() -> None:
    slots = [f"p-{n}" for n in range(5)]
    pool = fleet(slots).pools["p"]
    placed = target(slots)

    def chosen() -> dict[int, str]:
        return {user: of_user(placed, pool, user) for user in range(500)}

    before = chosen()
    pool.slots["p-3"].ready = False
    after = chosen()
    assert {key for key in before if before[key] != after[key]} == {k for k in before if before[k] == "p-3"}


def test_there_is_no_slot_without_a_pool() -> None:
    assert choose(target(["p-0"]), None, ["p-0"], 1) is None
