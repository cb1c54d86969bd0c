"""One entry, an artifact for each user: a router before two real predictors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from artifacts.graphs import linear
from cluster.ports import free_ports
from integration.router.processes import (
    ServerProcess,
    address,
    entry,
    http,
    start_router,
    wait_until,
    write_snapshot,
)

SLOTS = ("default-0", "default-1")
USERS = 60
REFRESH = 2.0


@dataclass
class World:
    router: ServerProcess
    predictors: dict[str, ServerProcess]
    artifacts: Path

    def put(self, user: str, answer: float) -> None:
        beside = self.artifacts / "beside"
        beside.write_bytes(linear((0.0, 0.0), answer))
        os.replace(beside, self.artifacts / f"{user}.onnx")

    def ask(self, user: str) -> httpx.Response:
        return http.post(f"{self.router.url}/predict/fit:{user}", json=[[1, 1]])

    def answer(self, user: str) -> float:
        answer = self.ask(user)
        assert answer.status_code == 200, answer.text
        [value] = answer.json()
        return float(value)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("per-user")
    artifacts = folder / "fit"
    artifacts.mkdir()
    model = entry("models.fit", SLOTS, uri=f"file://{artifacts}/{{user_id}}.onnx")
    with ExitStack() as stack:
        predictors = {slot: stack.enter_context(_start_predictor(slot, folder, artifacts)) for slot in SLOTS}
        addresses = [address(slot, process.port) for slot, process in predictors.items()]
        snapshot = write_snapshot(folder / "snapshot", [model], addresses)
        router = stack.enter_context(start_router(snapshot.path))
        world = World(router, predictors, artifacts)
        for number in range(USERS):
            world.put(f"u{number}", float(number))
        yield world


def _start_predictor(slot: str, folder: Path, artifacts: Path) -> ServerProcess:
    [port] = free_ports(1)
    command = [
        *("-m", "tenantry_predictor", "--slot", slot, "--port", str(port), "--ready-after", "0"),
        *("--cache-dir", str(folder / slot), "--prefix", f"file://{artifacts}/", "--refresh", str(REFRESH)),
    ]
    return ServerProcess(command, port, folder / f"{slot}.log", {})


def _slot_of(world: World, user: str) -> str:
    """The slot that answers for the user; on a busy machine another may stand in for it for a moment."""
    while True:
        answer = world.ask(user)
        assert answer.status_code == 200, answer.text
        found = re.search(r"slot=([\w-]+);.*reason=primary", answer.headers["tenantry-route"])
        if found is not None:
            return found[1]


def test_users_are_spread_over_the_whole_pool_each_always_on_the_same_slot(world: World) -> None:
    slots = {f"u{number}": _slot_of(world, f"u{number}") for number in range(USERS)}
    assert set(slots.values()) == set(SLOTS)
    assert min(list(slots.values()).count(slot) for slot in SLOTS) > USERS / 5
    for number in range(USERS):
        assert world.answer(f"u{number}") == float(number)
        assert _slot_of(world, f"u{number}") == slots[f"u{number}"]


def test_a_slot_reports_all_users_of_a_model_as_one_and_no_metric_names_a_user(world: World) -> None:
    before = {slot: _reported(predictor) for slot, predictor in world.predictors.items()}
    for number in range(USERS):
        world.ask(f"u{number}")
    after = {slot: _reported(predictor) for slot, predictor in world.predictors.items()}
    gained = sum(after[slot]["requests"] - before[slot].get("requests", 0) for slot in SLOTS)
    assert gained == USERS
    assert all(after[slot]["sizeBytes"] > 0 for slot in SLOTS)
    for process in (world.router, *world.predictors.values()):
        assert not re.search(r"\bu\d+\b", http.get(f"{process.url}/metrics").text)


def _reported(predictor: ServerProcess) -> dict[str, int]:
    """The one line of the model, if it was asked for yet."""
    models = http.get(f"{predictor.url}/v2/slot").json()["models"]
    assert len(models) <= 1, models
    assert all(model["model"] == "models.fit" and model["sha256"] == "" for model in models)
    return models[0] if models else {}


def test_a_changed_artifact_answers_within_the_interval_and_the_old_one_until_then(world: World) -> None:
    world.put("changing", 1.0)
    assert world.answer("changing") == 1.0
    world.put("changing", 2.0)
    wait_until(lambda: world.answer("changing") == 2.0, 60.0, "the new artifact answers")


def test_a_user_is_known_as_long_as_there_is_an_artifact(world: World) -> None:
    def unknown() -> bool:
        answer = world.ask("newcomer")
        if answer.status_code == 404:
            assert answer.json()["reason"] == "UnknownUser"
        return answer.status_code == 404

    assert unknown()
    world.put("newcomer", 7.0)
    wait_until(lambda: not unknown(), 60.0, "the newcomer is known")
    assert world.answer("newcomer") == 7.0
    (world.artifacts / "newcomer.onnx").unlink()
    wait_until(unknown, 60.0, "the newcomer is forgotten")


def test_an_unknown_user_of_the_inference_protocol_is_told_the_same(world: World) -> None:
    tensor = {"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [1, 1]}
    for user, status in (("u7", 200), ("nobody", 404)):
        body = {"inputs": [tensor], "parameters": {"user_id": user}}
        answer = http.post(f"{world.router.url}/v2/models/fit/infer", json=body)
        assert answer.status_code == status, answer.text


def test_what_lies_outside_the_allowed_storage_is_nobodys_model(world: World) -> None:
    outside = world.artifacts.parent / "outside.onnx"
    outside.write_bytes(linear((0.0, 0.0), 666.0))
    (world.artifacts / "link.onnx").symlink_to(outside)
    refused = world.ask("link")
    assert (refused.status_code, refused.json()["reason"]) == (503, "OutsideAllowedStorage")
    for user in ("..%2Foutside", "..", "a%2F..%2F..%2Foutside"):
        assert world.ask(user).status_code == 400
