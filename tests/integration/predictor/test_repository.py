"""Loads, unloads, verification, the index, readiness and tokens: what the operator relies on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifacts import graphs
from integration.predictor.conftest import Put
from integration.predictor.processes import PredictorProcess, model, problem
from integration.waiting import wait_for

SAMPLE = [{"a": 1, "b": 2}]


def names(predictor: PredictorProcess) -> set[str]:
    return {entry["name"] for entry in predictor.http.post("/v2/repository/index").json()}


def test_load_measures_probes_and_warms(predictor: PredictorProcess, put: Put) -> None:
    data = graphs.linear([1, 2], columns=["a", "b"], sample=SAMPLE)
    asked = put(data, "warmed", pinned=False)
    report = predictor.load(asked).json()
    assert report["sha256"] == graphs.digest(data)
    assert report["engine"] == "onnx"
    assert report["probed"] is True
    assert report["columns"] == ["a", "b"]
    assert report["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 2]}]
    assert report["sizeBytes"] > len(data)
    assert 0 < report["loadMilliseconds"] < 60_000
    assert "models.warmed" in names(predictor)
    pinned = asked | {"Tenantry-Version": report["sha256"]}
    assert predictor.predict(pinned, SAMPLE).headers["tenantry-cache"].startswith("hit")
    [warm] = [entry for entry in predictor.slot()["models"] if entry["model"] == "models.warmed"]
    assert (warm["requests"], warm["sizeBytes"]) == (1, report["sizeBytes"])


def test_unload_ends_nothing_that_is_asked_for(predictor: PredictorProcess, put: Put) -> None:
    asked = put(graphs.linear([3, 3]), "unloaded")
    predictor.load(asked, pinned=True)
    assert predictor.unload(asked).status_code == 200
    assert predictor.predict(asked, [[1, 1]]).json() == [6.0]


def test_the_slot_tells_what_is_pinned(predictor: PredictorProcess, put: Put) -> None:
    asked = put(graphs.linear([3, 3, 3]), "kept")
    for pinned in (True, False):
        predictor.load(asked, pinned=pinned)
        [warm] = [entry for entry in predictor.slot()["models"] if entry["model"] == "models.kept"]
        assert warm.get("pinned", False) == pinned


def test_the_first_request_after_verification_is_warm(predictor: PredictorProcess, put: Put) -> None:
    asked = put(graphs.linear([4, 4], columns=["a", "b"], sample=SAMPLE), "verified")
    report = predictor.load(asked, verify=True).json()
    assert report["probed"] is True
    assert "models.verified" in names(predictor)
    answer = predictor.predict(asked, [[1, 1]])
    assert answer.json() == [8.0]
    assert answer.headers["tenantry-cache"].startswith("hit")


@pytest.mark.parametrize("verify", [True, False])
def test_failing_probe_is_told(predictor: PredictorProcess, put: Put, verify: bool) -> None:
    asked = put(graphs.linear([1, 2], columns=["a", "b"], sample=[{"a": 1, "c": int(verify)}]))
    refused = predictor.load(asked, verify=verify)
    assert refused.status_code == 503
    assert problem(refused)["reason"] == "ProbeFailed"
    assert "'b'" in problem(refused)["error"]


def test_reasons_of_bad_artifacts(predictor: PredictorProcess, put: Put, models_folder: Path) -> None:
    good = graphs.linear([6, 6])
    secret = models_folder.parent / "secret.onnx"
    secret.write_bytes(good)
    link = models_folder / "link.onnx"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    cases = {
        "ArtifactNotFound": model("m", f"file://{models_folder}/none.onnx"),
        "DigestMismatch": put(good, "wrong") | {"Tenantry-Version": "0" * 64},
        "LoadFailed": put(good[:-5], "truncated"),
        "FormatNotTrusted": put(good, "pickled") | {"Tenantry-Format": "pickle"},
        "OutsideAllowedStorage": model("m", "file:///etc/passwd"),
    }
    for reason, asked in cases.items():
        for answer in (
            predictor.load(asked),
            predictor.load(asked, verify=True),
            predictor.predict(asked, [[1, 1]]),
        ):
            assert (answer.status_code, problem(answer)["reason"]) == (503, reason)
            assert int(answer.headers["retry-after"]) >= 1
    leaving = predictor.load(model("m", f"file://{link}"))
    assert problem(leaving)["reason"] == "OutsideAllowedStorage"
    assert predictor.predict(put(good, "good"), [[1, 1]]).json() == [12.0]


def test_failed_prediction_says_when_to_try_again(predictor: PredictorProcess, models_folder: Path) -> None:
    refused = predictor.predict(model("m", f"file://{models_folder}/absent.onnx"), [[1]])
    assert 1 <= int(refused.headers["retry-after"]) <= 31


def test_another_tenant_needs_an_artifact_of_its_own(predictor: PredictorProcess, put: Put) -> None:
    mine = put(graphs.linear([8, 8]), "mine")
    assert predictor.predict(mine, [[1, 1]]).status_code == 200
    theirs = mine | {"Tenantry-Tenant": "globex", "Tenantry-Artifact": mine["Tenantry-Artifact"] + ".none"}
    assert problem(predictor.predict(theirs, [[1, 1]]))["reason"] == "ArtifactNotFound"


def test_ready_when_told(tmp_path: Path) -> None:
    with PredictorProcess(tmp_path) as predictor:
        waiting = predictor.http.get("/v2/health/ready")
        assert (waiting.status_code, problem(waiting)["reason"]) == (503, "Warming")
        assert predictor.http.get("/v2/health/live").status_code == 200
        predictor.http.post("/v2/slot/ready").raise_for_status()
        assert predictor.http.get("/v2/health/ready").status_code == 200


def test_ready_by_itself_after_a_time(tmp_path: Path) -> None:
    with PredictorProcess(tmp_path, "--ready-after", "0.5") as predictor:
        wait_for(lambda: predictor.http.get("/v2/health/ready").status_code == 200, 60, "ready by itself")


def test_it_waits_for_whoever_warms_it(tmp_path: Path, models_folder: Path, put: Put) -> None:
    named = put(graphs.linear([1, 2]))
    flags = ("--prefix", f"file://{models_folder}/", "--ready-after", "4")
    with PredictorProcess(tmp_path, *flags) as predictor:
        until = time.monotonic() + 6
        while time.monotonic() < until:
            predictor.load(named).raise_for_status()
            assert predictor.http.get("/v2/health/ready").status_code == 503
        wait_for(lambda: predictor.http.get("/v2/health/ready").status_code == 200, 60, "nobody warms it")


def test_tokens(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("new\nold\n")
    with PredictorProcess(tmp_path / "slot", "--token-file", str(tokens), "--ready-after", "0") as predictor:
        asked = model("m", "s3://models/a.onnx")
        for token in ("new", "old"):
            accepted = {"Tenantry-Token": token}
            assert predictor.http.get("/v2/slot", headers=accepted).status_code == 200
            assert predictor.http.post("/predict", headers=accepted, content="[[1]]").status_code == 400
        for refused in (
            predictor.predict(asked, [[1]]),
            predictor.infer(asked, {}),
            predictor.load(asked),
            predictor.unload(asked),
            predictor.http.get("/v2/slot"),
            predictor.http.post("/v2/slot/ready"),
            predictor.http.post("/v2/repository/index"),
            predictor.http.get("/v2/models/models.m", headers=asked),
            predictor.http.post("/predict", headers={"Tenantry-Token": "ne"}, content="[[1]]"),
        ):
            assert (refused.status_code, problem(refused)["reason"]) == (401, "Unauthorized")
        assert predictor.http.get("/v2/health/ready").status_code == 200
        assert predictor.http.get("/metrics").status_code == 200


def test_what_is_in_use_is_not_evicted(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()

    def put(name: str, data: bytes) -> dict[str, str]:
        (folder / name).write_bytes(data)
        return model(name, f"file://{folder}/{name}", graphs.digest(data), tenant=name)

    dear = put("dear", graphs.slow(1000))
    others = [put(f"other{i}", graphs.linear([i], padding=1 << 20)) for i in range(1, 6)]
    flags = ["--prefix", f"file://{folder}/", "--cache-memory", str(5 << 20)]
    with PredictorProcess(tmp_path / "slot", *flags) as predictor, ThreadPoolExecutor(4) as threads:
        predictor.predict(dear, [[1]])
        under_way = [threads.submit(predictor.predict, dear, [[i]]) for i in range(4)]
        wait_for(lambda: predictor.slot().get("inFlight"), 60, "the dear predictions are under way")
        for i, other in enumerate(others, start=1):
            assert predictor.predict(other, [[1]]).json() == [float(i)]
        assert [future.result().json() for future in under_way] == [[float(i)] for i in range(4)]
        assert predictor.slot()["usedBytes"] <= 5 << 20


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--cache-dir", "/proc/none"], "/proc/none cannot hold the cache"),
        (["--cache-memory", "1GB"], "'1GB' is no number of bytes"),
        (["--eviction", "fifo"], "invalid choice: 'fifo'"),
        (["--ready-after", "soon"], "no number of seconds"),
        (["--token-file", "/nowhere"], "--token-file /nowhere"),
        (["--token-file", "/dev/null"], "holds no token"),
    ],
)
def test_what_cannot_start_says_why(tmp_path: Path, flags: list[str], sentence: str) -> None:
    command = [sys.executable, "-m", "tenantry_predictor", "--slot", "s", "--port", "0"]
    command += ["--cache-dir", str(tmp_path), *flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


def test_restart_after_a_kill_finds_the_disk_warm(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    data = graphs.linear([1, 1])
    (folder / "a.onnx").write_bytes(data)
    asked = model("a", f"file://{folder}/a.onnx", graphs.digest(data))
    with PredictorProcess(tmp_path / "slot", "--prefix", f"file://{folder}/") as predictor:
        assert predictor.predict(asked, [[1, 1]]).headers["tenantry-cache"] == "miss"
        predictor.kill()
        os.remove(folder / "a.onnx")
        predictor.start()
        assert predictor.predict(asked, [[1, 1]]).headers["tenantry-cache"] == "disk"
