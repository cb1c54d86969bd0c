"""What stays in memory: favourites, whatever comes in sweeps, bursts, changes, and loads on purpose."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_core.wire import Tensor
from tenantry_predictor.repositories.base import Key
from tenantry_predictor.repositories.ghosts import Ghosts
from tenantry_predictor.repositories.memory import Entry, Eviction, MemoryTier
from tenantry_predictor.runtimes.base import AnyArray, LoadedModel


class Sized(LoadedModel):
    engine = "test"
    inputs = (Tensor("input", "FP32", (-1, 1)),)
    outputs = (Tensor("variable", "FP32", (-1, 1)),)

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def predict(self, tensors: Mapping[str, AnyArray], outputs: Sequence[str]) -> dict[str, AnyArray]:
        raise AssertionError("nothing is predicted here")

    def close(self) -> None:
        """There is nothing to close."""


class Traffic:
    """Requests for models by number, over a tier that holds a hundred of size 10."""

    def __init__(self, eviction: Eviction = "LFU", budget: int = 1000) -> None:
        self.tier = MemoryTier(budget, lambda model: None, eviction)

    def ask(self, number: int, size: int = 10, seconds: float = 0.001) -> bool:
        """Whether it was warm."""
        entry = self.tier.get(key(number))
        if entry is not None:
            self.tier.touched(entry)
            return True
        self.tier.release(self.tier.add(key(number), Sized(size), seconds))
        return False

    def hits(self, numbers: Iterable[int]) -> float:
        """The share of requests that found their model warm."""
        return float(np.mean([self.ask(number) for number in numbers]))

    def load(self, number: int, size: int = 10) -> Entry:
        """On purpose, as before it is routed."""
        entry = self.tier.add(key(number), Sized(size), keep=True)
        self.tier.release(entry)
        return entry

    def warm(self, numbers: Iterable[int]) -> int:
        return sum(self.tier.get(key(number)) is not None for number in numbers)


def key(number: int) -> Key:
    return Key("acme", f"{number:064x}", "onnx")


def skewed(count: int, seed: int = 0, models: int = 2000) -> list[int]:
    weights = np.cumsum(1 / np.arange(1, models + 1))
    drawn = np.searchsorted(weights, np.random.default_rng(seed).random(count) * weights[-1])
    return [int(rank) for rank in drawn]


def test_favourites_stay_whatever_the_rest_asks_for() -> None:
    requests = skewed(30_000)
    best = float(np.mean([rank < 100 for rank in requests[15_000:]]))
    traffic = Traffic()
    traffic.hits(requests[:15_000])
    assert best - traffic.hits(requests[15_000:]) < 0.03


def test_a_night_in_which_everything_is_asked_for_once_leaves_favourites_where_they_are() -> None:
    kept = {}
    for eviction in ("LFU", "LRU"):
        traffic = Traffic(eviction)
        traffic.hits(skewed(20_000))
        traffic.hits(range(2000, 4000))
        kept[eviction] = traffic.warm(range(50))
    assert kept["LFU"] >= 48
    assert kept["LRU"] == 0


def test_what_becomes_popular_comes_in_soon() -> None:
    traffic = Traffic()
    requests = skewed(30_000)
    traffic.hits(requests[:15_000])
    others = [rank + 10_000 for rank in requests[15_000:]]
    traffic.hits(others[:5000])
    best = float(np.mean([rank < 10_100 for rank in others[5000:]]))
    assert best - traffic.hits(others[5000:]) < 0.05


def test_bursts_of_cold_models_find_them_warm() -> None:
    """3,000 users work for five requests each, twenty at a time."""
    traffic = Traffic()
    traffic.hits(skewed(20_000))
    users = np.arange(10_000, 13_000).reshape(-1, 20)
    requests = [int(user) for group in users for _ in range(5) for user in group]
    traffic.hits(requests[: len(requests) // 2])
    assert traffic.hits(requests[len(requests) // 2 :]) > 0.7


def test_rollouts_leave_nothing_behind() -> None:
    """Of each new version the old one goes."""
    traffic = Traffic(budget=1000)

    def grown_by(versions: range) -> int:
        before = tracemalloc.get_traced_memory()[0]
        for number in versions:
            traffic.load(number)
            traffic.tier.condemn(key(number - 1), "model")
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        grown_by(range(1, 500))
        assert grown_by(range(500, 5000)) < 100_000
    finally:
        tracemalloc.stop()


def test_a_model_that_comes_back_is_known_again() -> None:
    traffic = Traffic()
    for _ in range(50):
        traffic.hits(range(100))
    for number in range(5000, 5050):
        traffic.load(number)
    [gone, *_] = [number for number in range(100) if not traffic.warm([number])]
    assert not traffic.ask(gone)
    traffic.hits(range(6000, 6200))
    assert traffic.warm([gone]), "once more, after fifty requests before, is not once"


@pytest.mark.parametrize("eviction", ["LFU", "LRU"])
def test_what_is_loaded_on_purpose_stays_until_it_is_routed(eviction: Eviction) -> None:
    traffic = Traffic(eviction)
    traffic.hits(skewed(20_000))
    loaded = [traffic.load(number) for number in range(5000, 5010)]
    assert traffic.hits(range(6000, 6030)) == 0
    assert all(entry.resident for entry in loaded)


def test_a_sweep_of_loads_on_purpose_takes_the_less_popular_half() -> None:
    traffic = Traffic()
    traffic.hits(skewed(20_000))
    for number in range(5000, 5500):
        traffic.load(number)
    assert traffic.warm(range(20)) >= 19


def test_a_model_that_is_not_kept_serves_its_request() -> None:
    traffic = Traffic()
    for _ in range(20):
        traffic.hits(range(100))
    entry = traffic.tier.add(key(500), Sized(900))
    assert not entry.resident
    assert traffic.tier.refusals == 1
    assert traffic.tier.used_bytes <= 1000
    assert traffic.warm(range(100)) >= 99, "all but the last one to come had earned their place"


def test_a_large_model_with_steady_requests_gets_in() -> None:
    traffic = Traffic()
    for _ in range(20):
        traffic.hits(range(100))
    loads = 0
    for _ in range(2000):
        loads += not traffic.ask(500, size=300, seconds=0.001)
        traffic.ask(0)
    assert loads < 200
    assert traffic.warm([500]) == 1


def test_of_equals_what_takes_long_to_load_stays() -> None:
    traffic = Traffic()
    for _ in range(10):
        for number in range(100):
            traffic.ask(number, seconds=0.2 if number < 50 else 0.001)
    for number in range(1000, 1030):
        for _ in range(30):
            traffic.ask(number)
    assert traffic.warm(range(50)) == 50


def test_order_outlives_the_largest_numbers() -> None:
    """Millions of requests for what is warm: weights of requests are brought down again in time."""
    traffic = Traffic(budget=30)
    traffic.hits([1, 2, 3])
    entries = {number: traffic.tier.get(key(number)) for number in (1, 2, 3)}
    for number in [1, 1, 2, 1, 3, 2] * 100_000:
        entry = entries[number]
        assert entry is not None
        traffic.tier.touched(entry)
    traffic.hits([4, 5, 6])
    assert traffic.warm([1, 2]) == 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 400), st.floats(0, 5)), max_size=300))
def test_any_traffic_stays_within_the_budget(requests: list[tuple[int, int, float]]) -> None:
    traffic = Traffic()
    for number, size, seconds in requests:
        traffic.ask(number, size, seconds)
        assert traffic.tier.used_bytes == sum(entry.size_bytes for entry in traffic.tier) <= 1000


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 100), st.booleans()), max_size=50))
def test_ghosts_tell_what_left_since(departures: list[tuple[int, int, bool]]) -> None:
    ghosts = Ghosts()
    for number, size, rejected in departures:
        ghosts.put(key(number), float(number), size, rejected=rejected)
    for number in range(10):
        own = [at for at, departure in enumerate(departures) if departure[0] == number]
        ghost = ghosts.take(key(number))
        assert (ghost is not None) == bool(own)
        if ghost is not None:
            later = departures[own[-1] + 1 :]
            assert ghost.rejected == departures[own[-1]][2]
            assert ghost.left_after == sum(size for _, size, way in later if way == ghost.rejected)
        assert ghosts.take(key(number)) is None
