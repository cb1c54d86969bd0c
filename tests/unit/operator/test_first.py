"""What is first decided about a model, in short, is what deciding about it in full comes to."""

from __future__ import annotations

import pytest

from tenantry_core.resources import TenantModel
from tenantry_core.slices import Entry
from tenantry_operator.planning.claims import GRANTED
from tenantry_operator.planning.deciding import decide_model
from tenantry_operator.planning.first import First, Given, first_entries, is_first
from tenantry_operator.planning.fleet import Fleet
from tenantry_operator.planning.world import World
from unit.operator.simulation import Simulation, digest

SLOTS = ("default-0", "default-2")


@pytest.fixture
def sim() -> Simulation:
    sim = Simulation(3)
    sim.settle()
    return sim


def first_of(sim: Simulation, model: TenantModel) -> tuple[World, Fleet, First]:
    world, fleet = sim.world(), Fleet()
    fleet.update(world, {})
    return world, fleet, First(model, SLOTS, Given(fleet, world.now, world.router_url))


def apply(sim: Simulation, name: str, **spec: object) -> TenantModel:
    return sim.apply(name, f"s3://models/{name}.onnx", sha256=digest(name), **spec)  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", [{}, {"replicas": 2}, {"tenant": "acme"}, {"probe_user": "eve"}])
@pytest.mark.parametrize("is_written", [False, True], ids=["new", "written as decided"])
@pytest.mark.parametrize("lost", [False, True], ids=["slots answer", "no slot answers"])
def test_it_is_what_is_decided_in_full(
    sim: Simulation, spec: dict[str, object], is_written: bool, lost: bool
) -> None:
    if lost:
        for slot in list(sim.predictors):
            sim.kill(slot)
    model = apply(sim, "m", **spec)
    assert is_first(model)
    world, fleet, first = first_of(sim, model)
    [entry] = first_entries({model.key: first}, 0).values()
    written: Entry | None = entry if is_written else None
    decision, status, decided = decide_model(world, model, GRANTED, written, SLOTS, fleet)
    assert decided == entry
    assert first.status() == status
    assert first.outcome == decision.outcome
    assert first.slots == decision.slots
    assert first.case.loads.anywhere == decision.case.loads.anywhere
    assert not decision.case.loads.wanted


def test_what_needs_more_than_its_spec_is_decided_in_full(sim: Simulation) -> None:
    assert not is_first(apply(sim, "pinned", residency="Pinned"))
    assert not is_first(sim.apply("unresolved", "s3://models/unresolved.onnx"))
    assert not is_first(sim.apply("each", "s3://models/{user_id}.onnx"))
    apply(sim, "known")
    sim.settle()
    assert not is_first(sim.models["ns.known"])
