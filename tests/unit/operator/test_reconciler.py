"""The loop as its surroundings see it: what is written, in which order, and what predictors are asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from prometheus_client import generate_latest

from tenantry_core.problems import Problem
from tenantry_core.resources import TenantModel, TenantModelStatus
from tenantry_core.slices import Entry
from tenantry_operator.planning.plan import Plan
from tenantry_operator.planning.planner import Planner
from tenantry_operator.planning.world import World
from tenantry_operator.reconciling import reconciler
from tenantry_operator.reconciling.actuator import ActuatorUnavailable, WriteConflict
from tenantry_operator.reconciling.state import ObservedState
from tenantry_operator.reconciling.trailing import AT_A_TIME
from unit.operator.running import TOKEN, Call, Running, operator, plans_made, run, until


@run
async def test_a_model_is_routed_then_told() -> None:
    async with operator() as running:
        key = running.apply("acme", sha256="ab" * 32)
        await until(lambda: running.journal.ready(key) == ("True", "Probed"))
        kinds = [kind for kind, name in running.journal.writes]
        assert kinds.index("slice") < kinds.index("status")
        assert running.journal.routed(key)
        assert running.journal.running == {"default": ("default-0", "default-1")}
        asked = [p for p in running.predictors.values() if p.loads()]
        assert len(asked) == 1
        assert asked[0].tokens == {TOKEN}
        (request,) = asked[0].loads()
        assert request.verify
        assert request.tenant == "acme"
        exposition = generate_latest().decode()
        assert 'tenantry_operator_checks_total{outcome="loaded"}' in exposition


@run
async def test_a_new_version_is_loaded_routed_and_the_old_one_released() -> None:
    async with operator() as running:
        key = running.apply("acme", "s3://models/one.onnx")
        await until(lambda: running.journal.ready(key) == ("True", "Probed"))
        running.apply("acme", "s3://models/two.onnx")
        await until(lambda: bool(_released(running)))
        ((_, model, request),) = _released(running)
        assert model == key
        assert request is not None
        assert request.reference.uri == "s3://models/one.onnx"
        assert running.journal.entries[key].targets[0].reference.uri == "s3://models/two.onnx"


@run
async def test_nothing_is_planned_before_everything_was_seen() -> None:
    running = Running(1)
    running.state.put_pool(running.pool)
    running.apply("acme", sha256="ab" * 32)
    async with running.reconciler():
        for _ in range(100):
            await asyncio.sleep(0)
        assert running.journal.writes == []
        running.state.set_complete()
        await until(lambda: running.journal.routed("ns.acme"))


@run
async def test_a_burst_becomes_few_writes() -> None:
    async with operator() as running:
        for number in range(120):
            running.apply(f"m{number}", sha256=f"{number:064x}")
            if number % 10 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(running.journal.entries) == 120)
        assert running.journal.count("slice") <= 30
        await until(lambda: all(running.journal.ready(f"ns.m{n}")[0] == "True" for n in range(120)))
        assert running.journal.count("status") <= 2 * 120
        assert max(p.most_at_once for p in running.predictors.values()) <= 2


@run
async def test_slices_do_not_wait_for_statuses() -> None:
    async with operator() as running:
        running.journal.status_seconds = 0.5
        for number in range(100):
            running.apply(f"m{number}", sha256=f"{number:064x}")
        await until(lambda: running.journal.count("status") > 0)
        before = running.journal.count("status")
        running.apply("late", sha256="ab" * 32)
        await until(lambda: running.journal.routed("ns.late"))
        assert running.journal.count("status") < before + 50


@run
async def test_what_a_plan_tells_waits_until_that_plan_is_written() -> None:
    one, two = "s3://models/one.onnx", "s3://models/two.onnx"
    held, go_on, tell = threading.Event(), threading.Event(), asyncio.Event()
    make_plan = Planner.plan

    def hold(planner: Planner, world: World) -> Plan:
        decided = make_plan(planner, world)
        if any(two in str(entries) for entries in decided.slices.values()):
            held.set()
            go_on.wait(60.0)
        return decided

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Planner, "plan", hold)
        patch.setattr(reconciler, "BESIDE_SLICES", 1e6)
        async with operator() as running:
            key = running.apply("acme", one)
            await until(lambda: running.journal.ready(key) == ("True", "Probed"))
            write_status, write_slice = running.journal.write_status, running.journal.write_slice
            told: set[str] = set()
            early = []

            async def wait_and_write(model: TenantModel, status: TenantModelStatus) -> None:
                told.add(model.key)
                if two in str(status.active) and two not in str(running.journal.entries[key]):
                    early.append(status)
                await tell.wait()
                await write_status(model, status)

            async def write_slowly(name: str, entries: Sequence[Entry]) -> None:
                await asyncio.sleep(0.05)
                await write_slice(name, entries)

            patch.setattr(running.journal, "write_status", wait_and_write)
            others = {running.apply(f"m{n}", sha256=f"{n:064x}") for n in range(AT_A_TIME + 1)}
            await until(lambda: len(told) == AT_A_TIME)
            await until(lambda: all(map(running.journal.routed, others)))
            before = set(told)
            for other in before:  # theirs are no longer due, but still being written
                running.state.drop_model(other)
            patch.setattr(running.journal, "write_slice", write_slowly)
            running.apply("acme", two)
            try:
                await until(held.is_set)
                tell.set()
                await until(lambda: before <= running.journal.statuses.keys())
                for _ in range(100):
                    await asyncio.sleep(0)
                assert told == before, "the plan is still being made"
            finally:
                go_on.set()
            await until(lambda: told >= others and two in str(running.journal.statuses[key].active))
            assert early == [], "told before routers had it"


@run
async def test_a_conflict_is_planned_again() -> None:
    async with operator() as running:
        conflicts = iter([True, True])

        def fail(kind: str, name: str) -> None:
            if kind == "slice" and next(conflicts, False):
                raise WriteConflict(name)

        running.journal.fail = fail
        key = running.apply("acme", sha256="ab" * 32)
        await until(lambda: running.journal.ready(key) == ("True", "Probed"))
        assert next(conflicts, None) is None


@run
async def test_writes_that_fail_are_made_up_for() -> None:
    async with operator() as running:
        away = True

        def fail(kind: str, name: str) -> None:
            if away:
                raise ActuatorUnavailable(kind)

        running.journal.fail = fail
        key = running.apply("acme", sha256="ab" * 32)
        await until(lambda: any(p.loads() for p in running.predictors.values()))
        assert running.journal.writes == []
        away = False
        await until(lambda: running.journal.ready(key) == ("True", "Probed"))
        assert running.journal.routed(key)


@run
async def test_what_a_predictor_says_of_an_artifact_is_told() -> None:
    async with operator() as running:
        problem = Problem(404, "there is no object s3://models/acme.onnx", reason="ArtifactNotFound")
        for predictor in running.predictors.values():
            predictor.problems["s3://models/acme.onnx"] = problem
        key = running.apply("acme")
        await until(lambda: running.journal.ready(key) == ("False", "ArtifactNotFound"))
        assert "there is no object" in running.journal.statuses[key].conditions[0].message
        await until(lambda: bool(running.journal.events))
        assert [(e.type, e.reason) for e in running.journal.events] == [("Warning", "ArtifactNotFound")]


@run
async def test_a_store_that_is_away_is_waited_for() -> None:
    async with operator() as running:
        problem = Problem(503, "the store does not answer", reason="StorageUnavailable")
        for predictor in running.predictors.values():
            predictor.problems["s3://models/acme.onnx"] = problem
        key = running.apply("acme")
        await until(lambda: "does not answer" in str(running.journal.statuses.get(key)))
        assert running.journal.ready(key) == ("Unknown", "Verifying")
        for predictor in running.predictors.values():
            predictor.problems.clear()
        await until(lambda: running.journal.ready(key) == ("True", "Probed"))


@run
async def test_a_slot_that_does_not_answer_is_passed_over() -> None:
    async with operator() as running:
        await running.predictors["default-0"].stop()
        keys = [running.apply(f"m{number}") for number in range(8)]
        await until(lambda: all(running.journal.routed(key) for key in keys))
        placed = {slot for key in keys for t in running.journal.entries[key].targets for slot in t.slots}
        assert placed == {"default-1"}
        await running.predictors["default-0"].start()


@run
async def test_a_new_process_loads_its_share_before_it_turns_ready() -> None:
    async with operator(slots=1) as running:
        keys = [running.apply(f"m{number}", sha256=f"{number:064x}") for number in range(5)]
        await until(lambda: all(running.journal.ready(key)[0] == "True" for key in keys))
        predictor = running.predictors["default-0"]
        predictor.calls.clear()
        predictor.most_at_once, predictor.delay = 0, 0.1
        present = replace(predictor.instance, ready=True)
        successor = replace(predictor.instance, id="successor", ready=False)
        running.state.put_slot("default-0", "default", [present, successor])
        await until(lambda: any(kind == "ready" for kind, _, _ in predictor.calls))
        kinds = [kind for kind, _, _ in predictor.calls]
        assert sorted(model for kind, model, _ in predictor.calls if kind == "load") == keys
        assert kinds.index("ready") == len(keys)
        assert predictor.most_at_once == 4
        assert not any(request.verify for request in predictor.loads())


@run
async def test_slots_without_a_share_turn_ready_at_once() -> None:
    async with operator(ready=False) as running:
        await until(lambda: all(predictor.ready for predictor in running.predictors.values()))
        assert not any(predictor.loads() for predictor in running.predictors.values())


@run
async def test_slots_that_only_the_source_takes_for_lost_are_asked_themselves_and_keep_their_share() -> None:
    async with operator() as running:
        keys = [running.apply(f"m{n}", sha256=f"{n:064x}") for n in range(4)]
        await until(lambda: all(running.journal.ready(key)[0] == "True" for key in keys))
        placed = running.journal.entries
        for predictor in running.predictors.values():
            predictor.ready = True
            silent = replace(predictor.instance, id="lapsed", ready=False)
            running.state.put_slot(predictor.slot, "default", [silent])
        await until(lambda: all(slot.ready for slot in running.state.world().slots.values()))
        late = running.apply("late", sha256="ab" * 32)
        await until(lambda: running.journal.ready(late)[0] == "True")
        assert {key: running.journal.entries[key] for key in keys} == placed


@run
async def test_another_operator_finds_nothing_to_do() -> None:
    async with operator() as running:
        keys = [running.apply(f"m{n}", sha256=f"{n:064x}") for n in range(20)]
        await until(lambda: all(running.journal.ready(key)[0] == "True" for key in keys))
        await until(lambda: len(running.journal.events) == len(keys))
        world = running.state.world()
        second = Running(2)
        second.state, second.journal = ObservedState(), running.journal
        for model in world.models.values():
            second.state.put_model(_as_written(model, running))
        for pool in world.pools.values():
            second.state.put_pool(pool)
        for slot in world.slots.values():
            second.state.put_slot(slot.name, slot.pool, slot.instances)
        for name, entries in running.journal.slices.items():
            second.state.put_slice(name, entries)
        loads = sum(len(p.loads()) for p in running.predictors.values())
        running.journal.writes.clear()
        second.state.set_complete()
        async with second.reconciler():
            for _ in range(3):
                made = plans_made()
                second.state.touch()
                await until(lambda made=made: plans_made() > made + 1)  # type: ignore[misc]
        assert running.journal.writes == [("slots", "default")]
        assert sum(len(p.loads()) for p in running.predictors.values()) == loads


def _released(running: Running) -> list[Call]:
    return [call for p in running.predictors.values() for call in p.calls if call[0] == "unload"]


def _as_written(model: TenantModel, running: Running) -> TenantModel:
    return TenantModel(model.metadata, model.spec, running.journal.statuses[model.key])


@run
async def test_deleting_writes_before_it_tells_predictors() -> None:
    async with operator() as running:
        key = running.apply("acme", sha256="ab" * 32)
        await until(lambda: running.journal.ready(key) == ("True", "Probed"))
        running.state.drop_model(key)
        await until(lambda: bool(_released(running)))
        assert running.journal.entries == {}


@run
async def test_news_are_told_once_and_again_when_they_are_news_again() -> None:
    async with operator(slots=1) as running:
        predictor = running.predictors["default-0"]
        bad = "s3://models/bad.onnx"
        predictor.problems[bad] = Problem(422, "it cannot be opened", reason="LoadFailed")
        key = running.apply("acme")
        await until(lambda: len(running.journal.events) == 1)
        for round_ in (1, 2):
            running.apply("acme", bad)
            await until(lambda: running.journal.ready(key) == ("False", "LoadFailed"))
            running.apply("acme")
            await until(lambda: running.journal.ready(key) == ("True", "Probed"))
            await until(lambda told=1 + round_: len(running.journal.events) == told)  # type: ignore[misc]
        assert [event.reason for event in running.journal.events] == ["Serving", "LoadFailed", "LoadFailed"]
