"""Slots that join, leave, get lost, come back and surge: what moves, and when."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tenantry_core.resources import PoolRef, PredictorPool, PredictorPoolSpec, Storage
from tenantry_core.wire import SlotReport, WarmModel
from tenantry_operator.planning.planner import plan
from unit.operator.simulation import Simulation, digest, is_quiet


def filled(slots: int, models: int) -> Simulation:
    """A settled fleet with pinned models m0, m1..."""
    sim = Simulation(slots)
    sim.settle()
    for number in range(models):
        sim.store[f"s3://models/{number}.onnx"] = f"content {number}"
        sim.apply(f"m{number}", f"s3://models/{number}.onnx", sha256=digest(f"content {number}"))
    sim.settle()
    return sim


def placement(sim: Simulation) -> dict[str, tuple[str, ...]]:
    return {key: entry.targets[0].slots for key, entry in sim.entries.items()}


def moved(before: dict[str, tuple[str, ...]], after: dict[str, tuple[str, ...]]) -> set[str]:
    return {key for key in before if before[key] != after[key]}


@pytest.fixture
def sim() -> Simulation:
    return filled(slots=4, models=80)


def test_a_slot_that_joins_is_warm_before_anything_is_routed_to_it(sim: Simulation) -> None:
    before = placement(sim)
    sim.scale(5)
    while not any("default-4" in slots for slots in placement(sim).values()):
        decided = sim.step()
    for key, slots in placement(sim).items():
        if "default-4" in slots:
            model = sim.models[key]
            assert ("default-4", model.metadata.uid, model.spec.artifact.sha256) in sim.loaded
    assert {release.model for release in decided.releases} <= moved(before, placement(sim))
    sim.settle()
    changed = moved(before, placement(sim))
    assert 12 <= len(changed) <= 16
    assert {placement(sim)[key] for key in changed} == {("default-4",)}


def test_a_slot_that_leaves_serves_until_its_models_are_warm_elsewhere(sim: Simulation) -> None:
    before = placement(sim)
    sim.busy.add("default-3")
    sim.scale(3)
    sim.step()
    assert placement(sim) == before, "what moves is loaded first"
    for _ in range(3):
        decided = sim.step()
    assert not any("default-3" in slots for slots in placement(sim).values())
    assert moved(before, placement(sim)) == {key for key, slots in before.items() if slots == ("default-3",)}
    assert "default-3" in decided.pool_slots["default"], "it still has requests"
    sim.busy.clear()
    sim.pass_time(1)
    assert "default-3" in sim.step().pool_slots["default"], "it was busy a moment ago"
    sim.pass_time(3)
    assert "default-3" not in sim.step().pool_slots["default"]


def test_a_leaving_slot_that_never_falls_idle_goes_in_the_end(sim: Simulation) -> None:
    sim.busy.add("default-3")
    sim.scale(3)
    for _ in range(5):
        sim.step()
    sim.pass_time(31)
    assert "default-3" not in sim.step().pool_slots["default"]


def test_a_leaving_slot_waits_for_models_that_cannot_be_loaded_elsewhere(sim: Simulation) -> None:
    sim.store_down = True
    sim.scale(3)
    for _ in range(6):
        sim.step()
        sim.pass_time(30)
    assert "default-3" in sim.step().pool_slots["default"]
    assert any("default-3" in slots for slots in placement(sim).values())
    sim.pass_time(200)
    assert "default-3" not in sim.step().pool_slots["default"]
    sim.settle()
    assert not any("default-3" in slots for slots in placement(sim).values())


def test_a_lost_slot_keeps_its_share_for_a_while(sim: Simulation) -> None:
    before = placement(sim)
    sim.kill("default-1")
    sim.settle(patience=0)
    sim.pass_time(29)
    sim.settle(patience=0)
    assert placement(sim) == before
    sim.pass_time(2)
    sim.step()
    assert moved(before, placement(sim)) == {key for key, slots in before.items() if slots == ("default-1",)}


def test_a_slot_that_comes_back_within_the_grace_finds_everything_as_it_was(sim: Simulation) -> None:
    before = placement(sim)
    sim.kill("default-1")
    sim.settle(patience=0)
    sim.pass_time(20)
    sim.heal()
    sim.settle()
    assert placement(sim) == before


def test_a_slot_that_comes_back_late_takes_its_fair_share_again(sim: Simulation) -> None:
    sim.kill("default-1")
    sim.pass_time(31)
    sim.settle()
    without = placement(sim)
    sim.heal()
    sim.settle()
    back = moved(without, placement(sim))
    assert 10 <= len(back) <= 20
    assert {placement(sim)[key] for key in back} == {("default-1",)}


def test_when_all_slots_are_lost_nothing_is_moved_about(sim: Simulation) -> None:
    before = placement(sim)
    for slot in list(sim.predictors):
        sim.kill(slot)
    sim.pass_time(60)
    sim.settle(patience=0)
    assert placement(sim) == before
    assert sim.ready("m0") == ("True", "Probed"), "that says nothing about the model"


def test_a_restart_amid_a_move_completes_it(sim: Simulation) -> None:
    sim.scale(5)
    for _ in range(3):
        sim.step()
    sim.restart()
    sim.settle()
    held = [sum(slot in slots for slots in placement(sim).values()) for slot in sim.pool.slot_names()]
    assert sum(held) == 80
    assert max(held) <= 20


def test_the_hottest_models_are_loaded_first_on_a_new_pod(sim: Simulation) -> None:
    share = sorted(key for key, slots in placement(sim).items() if slots == ("default-0",))
    sim.load = {share[-1]: 90.0, share[3]: 50.0}
    sim.kill("default-0")
    sim.heal()
    decided = sim.plan()
    assert [check.model for check in decided.checks[:2]] == [share[-1], share[3]]
    assert sorted(check.model for check in decided.checks) == share
    assert not decided.warm


def test_no_more_is_loaded_on_a_new_pod_than_fits(sim: Simulation) -> None:
    sim.reports["default-0"] = SlotReport("default-0", 10 * 43_000, 0, 0.0, 0)
    sim.kill("default-0")
    sim.heal()
    assert len(sim.plan().checks) == 8


def test_a_hot_model_is_spread_and_gathered_again(sim: Simulation) -> None:
    sim.load = dict.fromkeys(sim.models, 150.0) | {"ns.m5": 4000.0}
    sim.settle()
    assert len(placement(sim)["ns.m5"]) == 4
    assert {len(slots) for key, slots in placement(sim).items() if key != "ns.m5"} == {1}
    sim.load["ns.m5"] = 150.0
    sim.settle()
    assert len(placement(sim)["ns.m5"]) == 1


def test_a_lower_minimum_takes_effect_while_requests_come(sim: Simulation) -> None:
    sim.load = {"ns.m5": 0.5}
    for replicas in (2, 1):
        sim.apply("m5", "s3://models/5.onnx", sha256=digest("content 5"), replicas=replicas)
        sim.settle()
        assert len(placement(sim)["ns.m5"]) == replicas


def test_a_model_that_cannot_be_loaded_elsewhere_is_moved_by_load_but_once() -> None:
    sim = Simulation(2)
    for name in "abcdefgh":
        sim.store[f"s3://models/{name}.onnx"] = name
        sim.apply(name, f"s3://models/{name}.onnx", max_replicas=1)
    sim.settle()
    here = [name for name in "abcdefgh" if sim.routed(name)[1] == ("default-0",)]
    there = [name for name in "abcdefgh" if sim.routed(name)[1] == ("default-1",)]
    stuck, hot, *_ = here
    sim.store[f"s3://models/{stuck}.onnx"] = "other bytes"
    sim.load = {f"ns.{hot}": 300.0, f"ns.{stuck}": 60.0, f"ns.{there[0]}": 150.0}
    sim.events.clear()
    for _ in range(24):
        sim.step()
        sim.pass_time(10.0)
    assert sim.events == ["DigestMismatch"], "it was tried"
    sim.settle()
    assert sim.ready(stuck)[0] == "True"
    assert sim.routed(stuck)[1] == ("default-0",)


def test_its_owner_may_limit_how_far_a_model_spreads(sim: Simulation) -> None:
    sim.apply("m5", "s3://models/5.onnx", sha256=digest("content 5"), max_replicas=2)
    sim.load = {"ns.m5": 4000.0}
    sim.settle()
    assert len(placement(sim)["ns.m5"]) == 2


def test_a_pinned_residency_is_loaded_again_where_it_is_missing(sim: Simulation) -> None:
    model = sim.models["ns.m5"]
    sim.apply("m5", "s3://models/5.onnx", sha256=model.spec.artifact.sha256, residency="Pinned")
    sim.settle()
    (slot,) = placement(sim)["ns.m5"]
    held = WarmModel("ns.m5", "m5", model.spec.artifact.sha256, 43_000, 0, pinned=True)
    sim.restart()
    sim.reports[slot] = SlotReport(slot, 10**9, 43_000, 0.0, 0, (held,))
    assert not sim.plan().checks
    sim.reports[slot] = SlotReport(slot, 10**9, 0, 0.0, 0)
    (check,) = sim.plan().checks
    assert (check.model, check.slot, check.pinned, check.verify) == ("ns.m5", slot, True, False)


@pytest.mark.parametrize(("before", "after"), [("OnDemand", "Pinned"), ("Pinned", "OnDemand")])
def test_a_changed_residency_reaches_the_slots_that_hold_the_model(
    sim: Simulation, before: str, after: str
) -> None:
    sha256 = sim.models["ns.m5"].spec.artifact.sha256
    sim.apply("m5", "s3://models/5.onnx", sha256=sha256, residency=before)
    sim.settle()
    (slot,) = placement(sim)["ns.m5"]
    held = WarmModel("ns.m5", "m5", sha256, 43_000, 0, pinned=before == "Pinned")
    sim.reports[slot] = SlotReport(slot, 10**9, 43_000, 0.0, 0, (held,))
    assert is_quiet(sim.settle())
    sim.apply("m5", "s3://models/5.onnx", sha256=sha256, residency=after)
    (check,) = sim.step().checks
    assert (check.model, check.slot, check.pinned) == ("ns.m5", slot, after == "Pinned")
    assert is_quiet(sim.settle())


def test_a_pool_that_is_named_later_gets_its_models_then() -> None:
    sim = Simulation(1)
    sim.settle()
    sim.store["s3://models/a.onnx"] = "a"
    sim.apply("a", "s3://models/a.onnx", pool_ref=PoolRef("gpu"))
    sim.settle()
    assert sim.ready("a") == ("False", "PoolNotFound")
    unavailable = sim.entries["ns.a"].unavailable
    assert unavailable is not None
    assert unavailable.reason == "PoolNotFound"
    sim.apply("a", "s3://models/a.onnx")
    sim.settle()
    assert sim.ready("a") == ("True", "Probed")


def test_a_served_model_whose_new_pool_is_missing_goes_on_serving(sim: Simulation) -> None:
    before = placement(sim)
    model = sim.models["ns.m5"]
    sim.apply("m5", "s3://models/5.onnx", sha256=model.spec.artifact.sha256, pool_ref=PoolRef("gpu"))
    sim.settle()
    assert sim.ready("m5") == ("False", "PoolNotFound")
    assert sim.serving("m5") == ("True", "Probed")
    assert placement(sim) == before


def test_storage_that_is_no_longer_allowed_is_no_longer_served() -> None:
    sim = filled(slots=1, models=1)
    storage = Storage(prefixes=("s3://elsewhere/",))
    sim.pool = PredictorPool(sim.pool.metadata, PredictorPoolSpec(1, storage=storage))
    sim.state.put_pool(sim.pool)
    sim.settle()
    assert sim.ready("m0") == ("False", "OutsideAllowedStorage")
    assert sim.serving("m0") == ("False", "OutsideAllowedStorage")
    assert sim.routed("m0") == ("", ())


def test_a_thousand_models_are_planned_in_a_moment() -> None:
    sim = filled(slots=8, models=1000)
    sim.restart()
    world = sim.world()
    began = time.process_time()
    assert is_quiet(plan(world))
    assert time.process_time() - began < 1, "it takes about 60 ms on a core of its own"
    assert is_quiet(plan(replace(world, now=world.now + 10)))


def test_what_a_deleted_model_held_is_free_for_those_that_stay() -> None:
    sim = Simulation(3)
    for name in ("a", "b"):
        sim.store[f"s3://models/{name}.onnx"] = "one"
        sim.apply(name, f"s3://models/{name}.onnx")
    sim.settle()
    sim.delete("b")
    sim.settle()  # each plan is held against one made from scratch
    assert placement(sim).keys() == {"ns.a"}
