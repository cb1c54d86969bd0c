"""The observed state: levels, own writes that count at once, and since when slots are lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from tenantry_core.resources import (
    Artifact,
    Metadata,
    PredictorPool,
    PredictorPoolSpec,
    TenantModel,
    TenantModelSpec,
    TenantModelStatus,
)
from tenantry_core.slices import Entry
from tenantry_operator.planning.world import Instance
from tenantry_operator.reconciling.state import ObservedState


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> ObservedState:
    return ObservedState(clock=clock)


def entries(revision: int) -> tuple[Entry, ...]:
    return (Entry("ns.a", "uid", "2026-01-01T00:00:00Z", revision, "a", "default"),)


def model(uid: str = "uid", replicas: int = 0) -> TenantModel:
    spec = TenantModelSpec(Artifact("s3://models/a.onnx"))
    return TenantModel(Metadata("a", "ns", uid), spec, TenantModelStatus(replicas=replicas))


def changed(state: ObservedState) -> bool:
    was = state.dirty.is_set()
    state.dirty.clear()
    return was


PUTS: dict[str, Callable[[ObservedState], None]] = {
    "model": lambda state: state.put_model(model()),
    "pool": lambda state: state.put_pool(PredictorPool(Metadata("default"), PredictorPoolSpec(0))),
    "slot": lambda state: state.put_slot("default-0", "default", [Instance("i", "h", 1, ready=True)]),
    "slice": lambda state: state.put_slice("placement-0-0", entries(1)),
    "namespace": lambda state: state.put_namespace_labels("ns", {"team": "ml"}),
}
DROPS: dict[str, Callable[[ObservedState], None]] = {
    "model": lambda state: state.drop_model("ns.a"),
    "pool": lambda state: state.drop_pool("default"),
    "slot": lambda state: state.drop_slot("default-0"),
    "slice": lambda state: state.drop_slice("placement-0-0"),
    "namespace": lambda state: state.drop_namespace("ns"),
}


@pytest.mark.parametrize("kind", PUTS)
def test_only_changes_ask_for_a_plan(state: ObservedState, kind: str) -> None:
    empty = state.world()
    for step in (PUTS[kind], DROPS[kind]):
        step(state)
        assert changed(state)
        step(state)
        assert not changed(state)
    assert replace(state.world(), highest_revision=0) == empty


def test_own_writes_count_before_the_source_shows_them(state: ObservedState) -> None:
    state.put_slice("s", entries(1))
    state.wrote_slice("s", entries(2))
    state.wrote_slice("s", entries(3))
    state.put_slice("s", entries(2))
    assert state.world().slices["s"] == entries(3), "an echo of an earlier write is not the newest"
    state.put_slice("s", entries(3))
    state.put_slice("s", entries(9))
    assert state.world().slices["s"] == entries(9), "somebody else wrote since"


def test_what_somebody_else_wrote_counts_over_own_writes(state: ObservedState) -> None:
    state.wrote_slice("s", entries(2))
    state.put_slice("s", entries(7))
    assert state.world().slices["s"] == entries(7)


def test_an_own_deletion_counts_before_the_source_shows_it(state: ObservedState) -> None:
    state.put_slice("s", entries(1))
    state.wrote_slice("s", entries(2))
    state.wrote_slice("s", None)
    state.put_slice("s", entries(2))
    assert "s" not in state.world().slices
    state.drop_slice("s")
    assert "s" not in state.world().slices


def test_revisions_go_on_from_the_highest_even_when_it_was_deleted(state: ObservedState) -> None:
    state.put_slice("s", entries(41))
    state.drop_slice("s")
    assert state.world().highest_revision == 41


def test_an_own_status_is_not_undone_by_an_older_event(state: ObservedState) -> None:
    state.put_model(model())
    written = TenantModelStatus(replicas=3)
    state.wrote_status(model(), written)
    state.put_model(msgspec.structs.replace(model(), metadata=Metadata("a", "ns", "uid", generation=2)))
    assert state.world().models["ns.a"].status == TenantModelStatus(), "content of its own: somebody else's"
    state.wrote_status(model(), written)
    state.wrote_status(model(), TenantModelStatus(replicas=4))
    state.put_model(model(replicas=3))
    assert state.world().models["ns.a"].status.replicas == 4


def test_a_status_never_lands_on_a_successor(state: ObservedState) -> None:
    state.put_model(model("old"))
    state.put_model(model("new"))
    state.wrote_status(model("old"), TenantModelStatus(replicas=3))
    assert state.world().models["ns.a"].status.replicas == 0


def test_a_slot_is_lost_since_its_last_ready_instance_went(state: ObservedState, clock: Clock) -> None:
    state.put_slot("default-0", "default", [Instance("i", "h", 1, ready=True)])
    assert state.world().slots["default-0"].lost_since is None
    clock.now = 110.0
    state.put_slot("default-0", "default", [Instance("i", "h", 1, ready=False)])
    clock.now = 120.0
    state.put_slot("default-0", "default", [])
    assert state.world().slots["default-0"].lost_since == 110.0
    state.put_slot("default-0", "default", [Instance("j", "h", 1, ready=True)])
    assert state.world().slots["default-0"].lost_since is None


def test_a_slot_that_says_itself_that_it_is_ready_is_not_lost(state: ObservedState, clock: Clock) -> None:
    silent = [Instance("i", "h", 1, ready=False)]
    state.put_slot("default-0", "default", [Instance("i", "h", 1, ready=True)])
    assert not state.doubtful.is_set()
    state.put_slot("default-0", "default", silent)
    assert state.doubtful.is_set()
    assert state.world().slots["default-0"].lost_since == 100.0
    clock.now = 110.0
    changed(state)
    state.put_own_word("default-0", "i")
    assert changed(state)
    state.put_slot("default-0", "default", silent)
    assert not changed(state)
    assert state.world().slots["default-0"].ready
    assert state.world().slots["default-0"].lost_since is None
    state.put_own_word("default-0", "")
    assert state.world().slots["default-0"].lost_since == 110.0


def test_what_an_instance_said_does_not_count_for_its_successor(state: ObservedState) -> None:
    state.put_slot("default-0", "default", [Instance("i", "h", 1, ready=True)])
    state.put_own_word("default-0", "i")
    state.put_slot("default-0", "default", [Instance("i/1", "h", 1, ready=False)])
    assert not state.world().slots["default-0"].ready
    state.drop_slot("default-0")
    state.put_slot("default-0", "default", [Instance("i", "h", 1, ready=False)])
    assert not state.world().slots["default-0"].ready


def test_a_slot_that_is_asked_for_but_never_seen_is_lost_too(state: ObservedState, clock: Clock) -> None:
    state.put_pool(PredictorPool(Metadata("default"), PredictorPoolSpec(replicas=1)))
    assert state.world().slots["default-0"].lost_since == 100.0
    clock.now = 105.0
    state.put_slot("default-0", "default", [])
    assert state.world().slots["default-0"].lost_since == 100.0
    clock.now = 110.0
    state.drop_slot("default-0")
    assert state.world().slots["default-0"].lost_since == 100.0


def test_a_slot_that_its_pool_no_longer_asks_for_is_leaving(state: ObservedState, clock: Clock) -> None:
    pool = PredictorPool(Metadata("default"), PredictorPoolSpec(replicas=2))
    state.put_pool(pool)
    state.put_slot("default-1", "default", [Instance("i", "h", 1, ready=True)])
    assert state.world().slots["default-1"].leaving_since is None
    clock.now = 110.0
    state.put_pool(msgspec.structs.replace(pool, spec=PredictorPoolSpec(replicas=1)))
    assert state.world().slots["default-1"].leaving_since == 110.0
    clock.now = 120.0
    assert state.world().slots["default-1"].leaving_since == 110.0
    state.put_pool(pool)
    assert state.world().slots["default-1"].leaving_since is None
