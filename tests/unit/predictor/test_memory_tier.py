"""The memory tier against a simple model of what it promises, over any sequence of uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tenantry_core.wire import Tensor
from tenantry_predictor.repositories.base import Key
from tenantry_predictor.repositories.memory import Entry, Eviction, MemoryTier
from tenantry_predictor.runtimes.base import AnyArray, LoadedModel

BUDGET = 100


class Sized(LoadedModel):
    engine = "test"
    inputs = (Tensor("input", "FP32", (-1, 1)),)
    outputs = (Tensor("variable", "FP32", (-1, 1)),)

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.closed = 0

    def predict(self, tensors: Mapping[str, AnyArray], outputs: Sequence[str]) -> dict[str, AnyArray]:
        raise AssertionError("nothing is predicted here")

    def close(self) -> None:
        self.closed += 1


def close(model: LoadedModel) -> None:
    model.close()


def key(name: str) -> Key:
    return Key("acme", name, "onnx")


keys = st.sampled_from([key(name) for name in "abcdef"])
models = st.sampled_from(["models.x", "models.y"])


class Uses(RuleBasedStateMachine):
    """Whatever is done in whatever order."""

    eviction: Eviction = "LFU"

    def __init__(self) -> None:
        super().__init__()
        self.tier = MemoryTier(BUDGET, close, self.eviction)
        self.held: list[Entry] = []
        self.made: list[Sized] = []

    @rule(name=keys, size=st.integers(1, 130), spare=st.booleans(), keep=st.booleans())
    def load(self, name: Key, size: int, spare: bool, keep: bool) -> None:
        model = Sized(size)
        self.made.append(model)
        entry = self.tier.add(name, model, spare=spare, keep=keep and not spare)
        assert entry.model is model or model.closed == 1
        self.held.append(entry)

    @rule(name=keys)
    def use(self, name: Key) -> None:
        entry = self.tier.get(name)
        if entry is not None:
            self.tier.touched(entry)
            self.tier.hold(entry)
            self.held.append(entry)

    @rule(which=st.integers(0, 1000))
    def release(self, which: int) -> None:
        if self.held:
            self.tier.release(self.held.pop(which % len(self.held)))

    @rule(name=keys, model=models)
    def pin(self, name: Key, model: str) -> None:
        entry = self.tier.get(name)
        if entry is not None:
            fits = entry.pinned or self.tier.pinned_bytes + entry.size_bytes <= BUDGET
            assert self.tier.pin(entry, model) == fits

    @rule(name=keys, model=models)
    def unpin(self, name: Key, model: str) -> None:
        entry = self.tier.get(name)
        if entry is not None:
            others = entry.pinned_by - {model}
            self.tier.unpin(entry, model)
            assert entry.pinned == bool(others)

    @rule(name=keys, model=models)
    def condemn(self, name: Key, model: str) -> None:
        self.tier.condemn(name, model)

    @rule(name=keys, size=st.integers(1, 130))
    def resize(self, name: Key, size: int) -> None:
        """As a model that was prepared anew: never larger."""
        entry = self.tier.get(name)
        if entry is not None and size < entry.size_bytes:
            assert isinstance(entry.model, Sized)
            entry.model.size_bytes = size
            self.tier.resized(entry)

    @invariant()
    def budget_is_exceeded_only_by_what_is_in_use(self) -> None:
        if self.tier.used_bytes > BUDGET:
            assert all(entry.users or entry.pinned for entry in self.tier)

    @invariant()
    def bytes_add_up(self) -> None:
        assert self.tier.used_bytes == sum(entry.size_bytes for entry in self.tier)
        assert self.tier.pinned_bytes == sum(entry.size_bytes for entry in self.tier if entry.pinned)
        assert self.tier.pinned_bytes <= BUDGET

    @invariant()
    def what_is_used_or_kept_is_open_and_the_rest_is_closed_once(self) -> None:
        alive = {id(entry.model) for entry in (*self.held, *self.tier)}
        for model in self.made:
            assert model.closed == (0 if id(model) in alive else 1)

    @invariant()
    def pinned_models_stay(self) -> None:
        assert all(entry.resident for entry in self.tier)


class UsesByRecency(Uses):
    """The same, whatever the policy."""

    eviction: Eviction = "LRU"


_SETTINGS = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestUses = Uses.TestCase
TestUses.settings = _SETTINGS
TestUsesByRecency = UsesByRecency.TestCase
TestUsesByRecency.settings = _SETTINGS


def fill(tier: MemoryTier, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        tier.release(tier.add(key(name), Sized(size)))


def use(tier: MemoryTier, name: str) -> None:
    entry = tier.get(key(name))
    assert entry is not None
    tier.touched(entry)


def names(tier: MemoryTier) -> list[str]:
    return [entry.key.sha256 for entry in tier]


def test_least_recently_used_goes_first() -> None:
    tier = MemoryTier(BUDGET, close, "LRU")
    fill(tier, {"a": 40, "b": 40})
    use(tier, "a")
    fill(tier, {"c": 40})
    assert names(tier) == ["a", "c"]
    assert tier.evictions == 1


def test_no_more_is_evicted_than_it_takes() -> None:
    tier = MemoryTier(BUDGET, close, "LRU")
    fill(tier, {"a": 10, "b": 40, "c": 40})
    fill(tier, {"d": 20})
    assert names(tier) == ["b", "c", "d"]


def test_condemned_goes_first_unless_it_is_asked_for_again() -> None:
    tier = MemoryTier(BUDGET, close)
    fill(tier, {"a": 30, "b": 30, "c": 30})
    tier.condemn(key("c"), "models.c")
    tier.condemn(key("b"), "models.b")
    use(tier, "b")
    fill(tier, {"d": 30})
    assert names(tier) == ["a", "b", "d"]


def test_what_two_models_share_stays_until_both_let_go() -> None:
    tier = MemoryTier(BUDGET, close)
    fill(tier, {"a": 60})
    entry = tier.get(key("a"))
    assert entry is not None
    assert tier.pin(entry, "models.x")
    assert tier.pin(entry, "models.y")
    tier.condemn(key("a"), "models.x")
    fill(tier, {"b": 40, "c": 40})
    assert names(tier) == ["a", "c"]
    tier.unpin(entry, "models.y")
    fill(tier, {"d": 40})
    assert names(tier) == ["c", "d"]


def test_what_is_let_go_while_the_budget_is_exceeded_goes_at_once() -> None:
    tier = MemoryTier(BUDGET, close)
    kept = tier.add(key("a"), Sized(40))
    assert tier.pin(kept, "models.a")
    tier.release(kept)
    for name in "bc":
        tier.add(key(name), Sized(60), keep=True)
    assert tier.used_bytes == 160
    tier.condemn(key("a"), "models.a")
    assert names(tier) == ["b", "c"]


@pytest.mark.parametrize("size", [101, 10_000])
def test_model_larger_than_the_budget_pushes_nothing_out(size: int) -> None:
    tier = MemoryTier(BUDGET, close)
    fill(tier, {"a": 40, "b": 40})
    model = Sized(size)
    entry = tier.add(key("z"), model)
    assert names(tier) == ["a", "b"]
    assert not model.closed
    tier.release(entry)
    assert model.closed


def test_a_digest_is_no_capability() -> None:
    tier = MemoryTier(BUDGET, close)
    fill(tier, {"a": 40})
    assert tier.get(Key("globex", "a", "onnx")) is None


def test_a_spare_model_takes_only_what_is_free_and_goes_first() -> None:
    tier = MemoryTier(100, close)
    fill(tier, {"a": 40})
    tier.release(tier.add(key("spare"), Sized(60), spare=True))
    assert names(tier) == ["a", "spare"]
    fill(tier, {"b": 10})
    assert names(tier) == ["a", "b"], "the spare one made room"
    crowded = Sized(60)
    entry = tier.add(key("late"), crowded, spare=True)
    assert names(tier) == ["a", "b"]
    assert not crowded.closed, "it lives while it is in use"
    tier.release(entry)
    assert crowded.closed
