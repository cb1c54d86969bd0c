"""Thousands are planned in portions: one change does not wait for them, and nothing that serves notices."""

from __future__ import annotations

from collections import Counter

import pytest

from tenantry_core.slices import slice_bits
from tenantry_operator.planning.plan import Plan
from tenantry_operator.planning.planner import plan
from unit.operator.simulation import Simulation, digest, is_quiet, timeless

MANY = 600
PORTION = 40


def applied(portion: float) -> Simulation:
    """Models that are all to be planned for the first time."""
    sim = Simulation(10, portion)
    sim.step()
    for number in range(MANY):
        put(sim, f"m{number:03}")
    return sim


def put(sim: Simulation, name: str) -> None:
    uri = f"s3://models/{name}.onnx"
    sim.store[uri] = name
    sim.apply(name, uri, sha256=digest(name))


def steps(sim: Simulation) -> list[Plan]:
    """Plans until nothing is left to decide about, each carried out."""
    made = [sim.step()]
    while made[-1].undecided:
        made.append(sim.step())
    return made


def urgent_models(decided: Plan) -> set[str]:
    return {entry.model for name in decided.urgent for entry in decided.slices[name]}


@pytest.fixture
def sim() -> Simulation:
    return applied(PORTION)


def test_a_change_is_in_the_next_plan_and_first_to_be_written(sim: Simulation) -> None:
    sim.step()
    for _ in range(3):
        put(sim, "late")
        decided = sim.plan()
        assert decided.undecided > MANY / 2
        assert "ns.late" in urgent_models(decided)
        assert len(decided.urgent) == 1
        for _ in sim.writes(decided):
            pass
        sim.delete("late")
        decided = sim.plan()
        assert len(decided.urgent) == 1
        assert "ns.late" not in {e.model for entries in decided.slices.values() for e in entries}


def test_what_was_applied_last_is_first_of_all_that_wait(sim: Simulation) -> None:
    put(sim, "zoe")  # while an operator starts, say
    assert "ns.zoe" in urgent_models(sim.plan())


def test_a_version_applied_while_no_operator_ran_is_loaded_by_the_first_plan(sim: Simulation) -> None:
    sim.settle(rounds=1000)
    sim.store["s3://models/m300-2.onnx"] = "new"
    sim.apply("m300", "s3://models/m300-2.onnx", sha256=digest("new"))
    sim.restart()
    assert "ns.m300" in {check.model for check in sim.plan().checks}


def test_slices_are_completed_one_after_the_other_and_keep_their_number(sim: Simulation) -> None:
    made = steps(sim)
    writes = Counter(name for decided in made for name in decided.slices)
    assert len({slice_bits(name) for name in writes}) == 1
    assert writes.total() <= len(writes) + len(made)
    assert len(sim.entries) == MANY


def test_portions_come_to_what_one_plan_comes_to(sim: Simulation) -> None:
    whole = applied(MANY)
    whole.settle()
    sim.settle(rounds=1000)
    assert {key: e.targets for key, e in sim.entries.items()} == {
        key: e.targets for key, e in whole.entries.items()
    }
    assert timeless(plan(sim.world())) == timeless(sim.plan())


def test_a_restart_looks_at_all_in_portions_and_moves_nothing(sim: Simulation) -> None:
    sim.settle(rounds=1000)
    sim.restart()
    made = steps(sim)
    assert len(made) > MANY / PORTION / 3
    assert all(map(is_quiet, made))


def test_a_restart_amid_the_portions_goes_on_where_they_ended(sim: Simulation) -> None:
    sim.step()
    sim.step()
    before = sim.entries
    sim.restart()
    made = steps(sim)
    assert not any(decided.releases for decided in made)
    assert len(sim.entries) == MANY
    assert {key: sim.entries[key].targets for key in before} == {k: e.targets for k, e in before.items()}


def test_what_was_deleted_while_no_operator_ran_goes_with_the_first_plan(sim: Simulation) -> None:
    sim.settle(rounds=1000)
    sim.delete("m070")
    sim.delete("m071")
    put(sim, "m071")  # another object of the same name
    sim.restart()
    for _ in sim.writes(sim.plan()):
        pass
    assert "ns.m070" not in sim.entries
    assert sim.entries.keys() >= {f"ns.m{number:03}" for number in range(70)}
    uid = sim.models["ns.m071"].metadata.uid
    assert "ns.m071" not in sim.entries or sim.entries["ns.m071"].uid == uid


def test_a_lost_slots_share_moves_although_all_others_wait(sim: Simulation) -> None:
    sim.settle(rounds=1000)
    sim.restart()
    sim.step()
    lost = sim.routed("m000")[1][0]
    sim.kill(lost)
    sim.pass_time(40)
    share = [key for key, e in sim.entries.items() if lost in e.targets[0].slots]
    moved: set[str] = set()
    while not moved >= set(share):
        decided = sim.step()
        moved |= {key for key in share if lost not in sim.entries[key].targets[0].slots}
    assert decided.undecided > MANY / 2
