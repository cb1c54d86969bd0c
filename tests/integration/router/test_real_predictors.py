"""The router before real predictors with real models: the answers are right, whatever happens to a slot."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from artifacts.graphs import digest, linear
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
from load.generator import measure
from load.result import Result
from load.target import Target, post
from tenantry_core.slices import Reference
from tenantry_core.slices import Target as Placed

SLOTS = ("default-0", "default-1", "default-2")
MODELS = 12


@dataclass
class World:
    router: ServerProcess
    predictors: dict[str, ServerProcess]

    def predict(self, user: str, rows: Any, **headers: str) -> httpx.Response:
        return http.post(f"{self.router.url}/predict/{user}", json=rows, headers=headers, timeout=20.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("real")
    token = folder / "token"
    token.write_text("sesame\n")
    (folder / "models").mkdir()
    entries = [_publish(folder, f"t{n}", float(n)) for n in range(MODELS)]
    for user in ("1", "2"):
        (folder / "models" / f"personal-{user}.onnx").write_bytes(linear((float(user), 0.0)))
    uri = f"file://{folder}/models/personal-{{user_id}}.onnx"
    entries.append(entry("models.personal", SLOTS, uri=uri))
    with ExitStack() as stack:
        predictors = {slot: stack.enter_context(_start_predictor(slot, folder, token)) for slot in SLOTS}
        addresses = [address(slot, process.port) for slot, process in predictors.items()]
        snapshot = write_snapshot(folder / "snapshot", entries, addresses)
        router = stack.enter_context(start_router(snapshot.path, "--token-file", str(token)))
        yield World(router, predictors)


def _publish(folder: Path, tenant: str, weight: float) -> Any:
    """A model whose answer to [[1, 1]] is its weight plus two; placed on two of three slots."""
    data = linear((weight, 2.0), columns=("a", "b"))
    path = folder / "models" / f"{tenant}.onnx"
    path.write_bytes(data)
    reference = Reference(f"file://{path}", "onnx", digest(data))
    slots = tuple(SLOTS[(int(weight) + step) % 3] for step in range(2))
    return entry(f"models.{tenant}", slots, targets=(Placed(reference, slots),))


def _start_predictor(slot: str, folder: Path, token: Path) -> ServerProcess:
    port = free_ports(1)[0]
    command = [
        *("-m", "tenantry_predictor", "--slot", slot, "--port", str(port), "--ready-after", "0"),
        *("--cache-dir", str(folder / f"cache-{slot}"), "--token-file", str(token)),
        *("--prefix", f"file://{folder}/models/"),
    ]
    return ServerProcess(command, port, folder / f"{slot}.log", {})


def test_a_prediction_is_right_and_the_second_one_is_warm(world: World) -> None:
    first = world.predict("t3:42", [{"a": 1, "b": 1}])
    assert first.json() == [5.0]
    assert "cache=miss" in first.headers["tenantry-route"]
    second = world.predict("t3:42", [[1, 1], [2, 2]])
    assert second.json() == [5.0, 10.0]
    assert "cache=hit; reason=primary" in second.headers["tenantry-route"]
    assert "predict;dur=" in second.headers["server-timing"]


def test_what_does_not_fit_the_model_is_told_by_name(world: World) -> None:
    answer = world.predict("t3:42", [{"a": 1}])
    assert answer.status_code == 422
    assert "'b'" in answer.json()["error"]


def test_the_inference_protocol(world: World) -> None:
    url = f"{world.router.url}/v2/models/t4"
    metadata = http.get(url).json()
    assert (metadata["name"], metadata["inputs"][0]["name"]) == ("t4", "input")
    tensor = {"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [1, 1]}
    answer = http.post(f"{url}/infer", json={"inputs": [tensor]}, headers={"Tenantry-User": "t4:1"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == [6.0]


def test_each_user_has_a_model_of_their_own_and_an_unknown_one_is_told_so(world: World) -> None:
    assert world.predict("personal:1", [[3, 1]]).json() == [3.0]
    assert world.predict("personal:2", [[3, 1]]).json() == [6.0]
    unknown = world.predict("personal:3", [[3, 1]])
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "UnknownUser")


def test_predictors_that_are_killed_under_load_cost_no_error_and_no_wrong_answer(world: World) -> None:
    results: list[Result] = []
    load = threading.Thread(target=lambda: results.append(_load(world.router.url, 8.0)))
    load.start()
    for slot, predictor in world.predictors.items():
        predictor.kill()
        predictor.start()
        wait_until(lambda slot=slot: _is_back(world, slot), 60.0, f"{slot} is back")  # type: ignore[misc]
    load.join()
    assert results[0].errors == 0, results[0].summary()
    assert results[0].answered > 100


def test_a_predictor_that_hangs_is_left_alone_until_it_goes_on(world: World) -> None:
    hanging = world.predictors["default-1"]
    hanging.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not _is_back(world, "default-1"), 60.0, "it is out of rotation")
        assert _load(world.router.url, 1.0).errors == 0
    finally:
        hanging.signal(signal.SIGCONT)
    wait_until(lambda: _is_back(world, "default-1"), 60.0, "it is back")


def _load(url: str, seconds: float) -> Result:
    """Requests for all models, whose answers tell which model answered."""

    def check(number: int, status: int, body: bytes) -> bool:
        return status == 200 and json.loads(body) == [number % MODELS + 2.0]

    return measure(
        Target.parse(url),
        lambda number: post(f"/predict/t{number % MODELS}:{number % 7}", b"[[1, 1]]"),
        connections=6,
        count=10**9,
        seconds=seconds,
        rate=250,
        check=check,
    )


def _is_back(world: World, slot: str) -> bool:
    candidates = http.get(f"{world.router.url}/explain/t0").json()["candidates"]
    return any(c["slot"] == slot and c["ready"] and not c["ejected"] for c in candidates)
