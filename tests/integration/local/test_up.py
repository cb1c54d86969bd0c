"""`tenantry up` as a process, its parts as real processes, and the command beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from integration import artifacts
from integration.local.running import Up, descendants, is_alive, processes_of
from integration.waiting import wait_for
from load.background import Background
from load.generator import measure
from load.result import Result
from load.target import Target, post_json
from shell import Shell
from tenantry_core.version import VERSION


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Two slots, shared by tests that leave it as they found it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("up")
        patch.setenv("XDG_STATE_HOME", str(folder / "home"))
        with Up(folder / "state") as running:
            yield running


@pytest.fixture
def shell(up: Up, tenantry: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Commands that find the running `up` without being told where it is."""
    monkeypatch.delenv("TENANTRY_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(up.directory.path.parent / "home"))
    return tenantry


def test_the_life_of_a_model(up: Up, shell: Shell) -> None:
    applied = shell("apply", "-f", "-", stdin=up.manifest("life", 2.0))
    assert applied.err == f"target: {up.directory.path} ({up.url})\n"
    up.wait_for_answer("life", 2.0)
    _wait_for_row(shell, "life", "True")
    answer = shell("predict", "life", "-f", "-", stdin="[[1.0], [3.0]]")
    assert (answer.code, answer.out) == (0, "[2.0,6.0]\n")
    assert "route: slot=default-" in answer.err

    shell("apply", "-f", "-", stdin=up.manifest("life", 5.0))
    up.wait_for_answer("life", 5.0)

    broken = json.loads(up.manifest("life", 7.0))
    broken["spec"]["artifact"]["uri"] = up.put("life/broken.onnx", b"these are no bytes of a graph")
    broken["spec"]["artifact"]["sha256"] = artifacts.digest(b"these are no bytes of a graph")
    shell("apply", "-f", "-", stdin=json.dumps(broken))
    _wait_for_row(shell, "life", "False")
    assert up.predict("life").json() == [5.0]
    wait_for(
        lambda: re.search(r"\n  Warning +LoadFailed ", shell("describe", "tm", "life").out),
        60.0,
        "describe shows the event of the failure",
    )
    assert "Reason:                LoadFailed" in shell("describe", "tm", "life").out

    assert shell("delete", "tm", "life").code == 0
    wait_for(lambda: up.predict("life").status_code == 404, 60.0, "a deleted model is not served")
    assert shell("predict", "life", "-f", "-", stdin="[[1]]").code == 1


def test_the_same_name_again_never_serves_the_old_bytes(up: Up, shell: Shell) -> None:
    for slope in (2.0, 3.0, 4.0):
        shell("apply", "-f", "-", stdin=up.manifest("again", slope))
        # Not one answer of the model that had the name before may come in between.
        answers = wait_for(
            lambda: [a.json() for a in [up.predict("again")] if a.is_success], 60.0, "an answer"
        )
        assert answers == [[slope]]
        shell("delete", "tm", "again")
        wait_for(lambda: up.predict("again").status_code == 404, 60.0, "a deleted model is not served")


def test_a_csv_with_headings_is_sent_as_records(up: Up, shell: Shell, tmp_path: Path) -> None:
    shell("apply", "-f", "-", stdin=up.manifest("columns", 1.0))
    up.wait_for_answer("columns", 1.0)
    rows = tmp_path / "rows.csv"
    rows.write_text("x\n1.5\n")
    answer = shell("predict", "columns", "-f", rows)
    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith("Error from server")
    shell("delete", "tm", "columns")


def test_the_command_tells_what_runs(up: Up, shell: Shell) -> None:
    shell("apply", "-f", "-", stdin=up.manifest("told", 2.0))
    up.wait_for_answer("told", 2.0)
    _wait_for_row(shell, "told", "True")
    explained = json.loads(shell("explain", "told", "-o", "json").out)
    assert explained["model"] == "default.told"
    assert explained["slot"] in ("default-0", "default-1")
    assert shell("get", "ps").out.split()[:4] == ["NAME", "MODELS", "AGE", "placement-0-0"]
    assert f" {up.url}/predict/told " in shell("get", "tm", "told", "-o", "wide").out
    assert f"Server Version: {VERSION} ({up.url})" in shell("version").out
    assert f"listening on {up.url}" in shell("logs", "router").out
    assert f"up at {up.url}" in shell("logs", "operator").out
    assert len(shell("logs", "default-0", "--tail", "1").out.splitlines()) == 1
    assert {"router", "default-0", "default-1"} <= {
        line.split("|")[0].strip() for line in shell("logs").out.splitlines()
    }
    unknown = shell("logs", "default-9")
    assert unknown.code == 1
    assert "there are operator, router, default-0, default-1" in unknown.err
    shell("delete", "tm", "told")


def test_a_second_up_on_the_same_state_is_refused(up: Up, shell: Shell) -> None:
    answer = shell("up", "--state", up.directory.path, "--port", "0")
    assert answer.code == 1
    assert f"already runs on {up.directory.path} (pid {up.told['pid']}, {up.url})" in answer.err
    assert up.predict("nobody").status_code == 404


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "TAKEN"], "choose another with --port"),
        (["--port", "0", "--grpc-port", "TAKEN"], "choose another with --grpc-port"),
        (["--allow", "file:///no/such/folder"], "there is no folder /no/such/folder"),
        (["--allow", "/models"], "/models/ is no storage prefix"),
        (["--state", "/proc/nothing"], "choose another with --state"),
        (["--state", "a folder"], "choose a --state without spaces"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(
    up: Up, tenantry: Shell, state: Path, options: list[str], sentence: str
) -> None:
    taken = up.url.rpartition(":")[2]
    answer = tenantry("up", *(taken if option == "TAKEN" else option for option in options))
    assert answer.code == 1
    assert sentence in answer.err
    assert processes_of(state) == []


def test_a_slot_that_is_killed_again_and_again_costs_no_request(up: Up, shell: Shell) -> None:
    shell("apply", "-f", "-", stdin=up.manifest("killed", 2.0, minReplicas=2))
    up.wait_for_answer("killed", 2.0)
    _wait_for_row(shell, "killed", "True")
    with _load(up, "killed", b"[2.0]") as load:
        for slot in ("default-0", "default-1", "default-0"):
            _kill_and_wait(up, slot)
            up.wait_ready("default-0", "default-1")
    assert load.errors == 0, load.summary()
    assert load.answered > 100
    shell("delete", "tm", "killed")


def test_a_router_that_is_killed_comes_back_on_its_port(up: Up, shell: Shell) -> None:
    shell("apply", "-f", "-", stdin=up.manifest("routed", 2.0))
    up.wait_for_answer("routed", 2.0)
    url = up.url
    _kill_and_wait(up, "router")
    up.wait_for_answer("routed", 2.0)
    assert up.url == url
    shell("delete", "tm", "routed")


def test_a_pool_grows_shrinks_and_rolls_without_a_failed_request(up: Up, shell: Shell) -> None:
    shell("apply", "-f", "-", stdin=up.manifest("pooled", 2.0, minReplicas=2))
    up.wait_for_answer("pooled", 2.0)
    _wait_for_row(shell, "pooled", "True")
    pool = json.loads(shell("get", "pp", "default", "-o", "json").out)
    with _load(up, "pooled", b"[2.0]") as load:
        pool["spec"]["replicas"] = 3
        shell("apply", "-f", "-", stdin=json.dumps(pool))
        up.wait_ready("default-0", "default-1", "default-2")
        third = up.pid("default-2")

        old = {slot: up.pid(slot) for slot in ("default-0", "default-1", "default-2")}
        pool["spec"]["cache"] = {"memory": "64Mi", "eviction": "LRU"}
        shell("apply", "-f", "-", stdin=json.dumps(pool))
        wait_for(
            lambda: not any(is_alive(pid) for pid in old.values()), 120.0, "all predictors have been replaced"
        )
        wait_for(lambda: not old.items() & up.told["pids"].items(), 60.0, "their successors are told")
        flags = Path(f"/proc/{up.pid('default-0')}/cmdline").read_text()
        assert "--cache-memory\x0067108864\x00--eviction\x00LRU\x00" in flags

        third = up.pid("default-2")
        pool["spec"]["replicas"] = 2
        shell("apply", "-f", "-", stdin=json.dumps(pool))
        wait_for(lambda: not is_alive(third), 60.0, "the third slot's process is gone")
        up.wait_ready("default-0", "default-1")
    assert load.errors == 0, load.summary()
    wait_for(
        lambda: shell("get", "pp", "default").out.splitlines()[1].split()[1:3] == ["2", "2"],
        60.0,
        "the pool tells its two slots",
    )
    shell("delete", "tm", "pooled")


def test_a_hot_model_is_warm_on_both_slots_and_its_requests_spread(up: Up, shell: Shell) -> None:
    shell("apply", "-f", "-", stdin=up.manifest("hot", 2.0))
    up.wait_for_answer("hot", 2.0)
    request = post_json("/predict/hot", [[1.0]])
    with Background(Target.parse(up.url), [request], rate=500.0, connections=8) as load:

        def spread() -> bool:
            routes = [answer.route for answer in load.answers[-200:]]
            return all(sum(f"slot={slot};" in route for route in routes) > 50 for slot in up.ready_slots())

        wait_for(spread, 120.0, "each of two slots answers a quarter and more")
    assert not load.broken
    assert {(answer.status, answer.body) for answer in load.answers} == {(200, b"[2.0]")}
    cold = [answer.route for answer in load.answers if "cache=hit" not in answer.route]
    assert all("reason=failover" in route for route in cold), "it is warm before it is routed"
    wait_for(
        lambda: json.loads(shell("get", "tm", "hot", "-o", "json").out)["status"]["replicas"] == 2,
        60.0,
        "its status tells of two",
    )
    shell("delete", "tm", "hot")


def test_kill_9_leaves_nothing_behind_and_a_restart_restores_everything(
    state: Path, tenantry: Shell, tmp_path: Path
) -> None:
    with Up(state, "--slots", "1") as up:
        tenantry("apply", "-f", "-", stdin=up.manifest("kept", 2.0))
        up.wait_for_answer("kept", 2.0)
        # A model without a graph is held by a process that the predictor started.
        model = tmp_path / "worker.joblib"
        joblib.dump(_without_a_graph(), model)
        published = tenantry("publish", model, "--tenant", "worker", "--apply")
        assert published.code == 0, published.err
        wait_for(lambda: up.predict("worker").is_success, 120.0, "the worker answers")

        parts = descendants(up.told["pid"])
        assert {up.pid("router"), up.pid("default-0")} < set(parts)
        os.kill(up.told["pid"], signal.SIGKILL)
        wait_for(lambda: not any(is_alive(pid) for pid in parts), 60.0, "all parts die with it")
        wait_for(lambda: processes_of(state) == [], 60.0, "nothing of it is left")

        up.start()
        assert up.ready_slots() == ["default-0"]
        assert up.predict("kept").json() == [2.0]

        pid = up.told["pid"]
        os.kill(pid, signal.SIGINT)
        wait_for(lambda: not is_alive(pid), 60.0, "Ctrl-C stops it")
        wait_for(lambda: processes_of(state) == [], 60.0, "nothing of it is left")
        assert "Traceback" not in up.text
        assert tenantry("get", "tm").err == f"target: {state} (not up)\n"


def test_models_may_lie_below_an_allowed_prefix(state: Path, tenantry: Shell, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    manifest = {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantModel",
        "metadata": {"name": "outside"},
        "spec": {"artifact": {"uri": f"file://{allowed}/outside.onnx"}},
    }
    (allowed / "outside.onnx").write_bytes(artifacts.linear(2.0, 0.0))
    # Applied before anything runs: it is served once something does.
    tenantry("apply", "-f", "-", stdin=json.dumps(manifest))
    with Up(state, "--slots", "1") as up:
        _wait_for_row(tenantry, "outside", "False")
        assert "OutsideAllowedStorage" in tenantry("get", "tm", "outside").out
        os.kill(up.told["pid"], signal.SIGTERM)
        wait_for(lambda: processes_of(state) == [], 60.0, "SIGTERM stops it")
    with Up(state, "--allow", f"file://{allowed}") as up:
        up.wait_for_answer("outside", 2.0)
        assert up.ready_slots() == ["default-0"]  # the number of slots stays as it was


def _without_a_graph() -> HistGradientBoostingRegressor:
    rows = np.arange(200.0).reshape(-1, 1)
    return HistGradientBoostingRegressor(max_iter=5).fit(rows, rows[:, 0] % 7)


def _kill_and_wait(up: Up, role: str) -> None:
    before = up.pid(role)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: up.told["pids"].get(role, before) != before, 60.0, f"{role} is started again")


def _wait_for_row(shell: Shell, name: str, ready: str) -> None:
    def conditions() -> dict[str, str]:
        content = json.loads(shell("get", "tm", name, "-o", "json").out)
        status = content.get("status", {})
        current = content["metadata"]["generation"]
        return {
            condition["type"]: condition["status"]
            for condition in status.get("conditions", ())
            if condition.get("observedGeneration") == current
        }

    wait_for(lambda: conditions().get("Ready") == ready, 60.0, f"Ready of {name} is {ready}")


@contextmanager
def _load(up: Up, user: str, expected: bytes) -> Iterator[Result]:
    """Requests from two connections meanwhile, each answer compared; the counts are whole afterwards."""
    total, stop = Result(), threading.Event()
    request = post_json(f"/predict/{user}", [[1.0]])
    target = Target.parse(up.url)

    def run() -> None:
        while not stop.is_set():
            part = measure(
                target,
                lambda _: request,
                connections=2,
                count=100,
                seconds=1.0,
                rate=100.0,
                check=lambda _number, status, body: (status, body) == (200, expected),
            )
            total.statuses += part.statuses
            total.broken += part.broken
            total.wrong += part.wrong

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield total
    finally:
        stop.set()
        thread.join()
