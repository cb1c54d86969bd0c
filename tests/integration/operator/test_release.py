"""What a release brings: the pool `default` after the chart's values, and the clean-up when it goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.controlplane import ControlPlane
from cluster.processes import Process
from integration.kube import OWN, Kube
from integration.waiting import wait_for

NAMESPACE = "default"
POOLS = f"{OWN}/predictorpools"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
CHILDREN = (
    f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments",
    f"/api/v1/namespaces/{NAMESPACE}/services",
    f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets",
    f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies",
)
ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
SECONDS = 60.0
COMMAND = [sys.executable, "-m", "tenantry_operator", f"--namespace={NAMESPACE}"]


class Release:
    """An operator that is started with values, and again with others. Its predictors never run."""

    def __init__(self, plane: ControlPlane, kube: Kube, directory: Path) -> None:
        self.kube = kube
        self._environment = {"KUBECONFIG": str(plane.kubeconfig)}
        self._directory = directory

    @contextmanager
    def running(self, **spec: Any) -> Iterator[Path]:
        """Its log."""
        values, log = self._directory / "pool.yaml", self._directory / "log"
        values.write_text(json.dumps(spec))
        log.unlink(missing_ok=True)
        process = Process([*COMMAND, "--standalone", f"--default-pool={values}"], log, **self._environment)
        process.start()
        try:
            yield log
        finally:
            process.stop()

    def apply(self, **spec: Any) -> dict[str, Any]:
        """The pool's spec once an operator with these values has been there."""
        with self.running(**spec) as log:
            wait_for(
                lambda: "applied the PredictorPool default" in log.read_text(), SECONDS, "the pool is applied"
            )
        found: dict[str, Any] = self.kube.get(f"{POOLS}/default")["spec"]
        return found

    def clean_up(self) -> str:
        """What it said."""
        command = [*COMMAND, "--cleanup", "--operator-deployment=tenantry-operator"]
        environment = os.environ | self._environment
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr
        return ended.stderr

    def children(self) -> list[str]:
        return [
            item["metadata"]["name"]
            for path in CHILDREN
            for item in self.kube.items(path, labelSelector="app.kubernetes.io/managed-by=tenantry")
        ]

    def notes(self) -> list[str]:
        """Of the Events on pools."""
        return [e["note"] for e in self.kube.items(EVENTS) if e["regarding"]["kind"] == "PredictorPool"]


@pytest.fixture
def release(plane: ControlPlane, kube: Kube, tmp_path: Path) -> Iterator[Release]:
    yield Release(plane, kube, tmp_path)
    for path in (POOLS, EVENTS, f"{OWN}/namespaces/{NAMESPACE}/placementslices", *CHILDREN):
        kube.delete(path)  # the Service `kubernetes` too, which the API server puts back


def test_the_default_pool_follows_the_values(release: Release) -> None:
    assert release.apply(replicas=1, cache={"disk": "1Gi"}, trust={"formats": ["onnx"]})["replicas"] == 1
    spec = release.apply(replicas=3, trust={"formats": ["onnx", "skops"]})
    assert (spec["replicas"], spec["trust"]) == (3, {"formats": ["onnx", "skops"]})
    assert "disk" not in spec.get("cache", {}), "what the values no longer say goes"
    assert release.notes() == []


def test_what_was_scaled_or_edited_since_stays(release: Release, plane: ControlPlane) -> None:
    env = [{"name": "A", "value": "chart"}, {"name": "B", "value": "chart"}]
    release.apply(replicas=1, cache={"disk": "1Gi"}, template={"env": env, "nodeSelector": {"a.b/c": "d"}})
    plane.kubectl("scale", "predictorpools/default", "--replicas=4")
    for path, value in (
        ("/spec/template/env/1/value", "user"),
        ("/spec/template/nodeSelector/a.b~1c", "user"),
    ):
        patch = json.dumps([{"op": "replace", "path": path, "value": value}])
        plane.kubectl("patch", "predictorpools/default", "--type=json", f"--patch={patch}")
    env = [{"name": "A", "value": "new"}, {"name": "B", "value": "new"}]
    values = {
        "replicas": 2,
        "cache": {"disk": "2Gi"},
        "template": {"env": env, "nodeSelector": {"a.b/c": "e"}},
    }
    for _ in range(2):  # an operator's second start is like its first
        spec = release.apply(**values)
        assert spec["replicas"] == 4
        assert spec["cache"]["disk"] == "2Gi"
        assert [(e["name"], e["value"]) for e in spec["template"]["env"]] == [("A", "new"), ("B", "user")]
        assert spec["template"]["nodeSelector"] == {"a.b/c": "user"}
    with release.running(**values):
        note = wait_for(release.notes, SECONDS, "an Event says so")[0]
    assert "spec.replicas (set by kubectl)" in note
    assert 'spec.template.env[name="B"].value (set by kubectl-patch)' in note


def test_a_pool_that_users_made_is_theirs(release: Release) -> None:
    metadata = {"name": "default"}
    manifest = {"apiVersion": "tenantry.dev/v1alpha1", "kind": "PredictorPool", "metadata": metadata}
    release.kube.apply(f"{POOLS}/default", manifest | {"spec": {"replicas": 1}})
    with release.running(replicas=3):
        wait_for(release.children, SECONDS, "the pool has its children")
    assert release.kube.get(f"{POOLS}/default")["spec"]["replicas"] == 1
    said = release.clean_up()
    assert "the PredictorPool default stays" in said
    assert release.kube.get(f"{POOLS}/default")
    assert release.children() == []


def test_values_that_the_api_server_refuses_end_an_operator_that_has_no_pool(release: Release) -> None:
    with release.running(replicas=1, storage={"prefixes": ["s3://models/x"]}) as log:
        wait_for(lambda: "tenantry_operator: no pool can be made" in log.read_text(), SECONDS, "it has ended")
    assert (
        log.read_text()
        .rstrip()
        .endswith("a prefix must end in '/', or it would allow folders that merely begin alike")
    )
    assert "Traceback" not in log.read_text()


def test_a_pool_that_is_there_goes_on_when_its_new_values_are_refused(release: Release) -> None:
    release.apply(replicas=1)
    with release.running(replicas=2, storage={"prefixes": ["s3://models/x"]}):
        [note] = wait_for(release.notes, SECONDS, "an Event says so")
        assert "a prefix must end in '/'" in note
        release.kube.merge(f"{POOLS}/default/scale", {"spec": {"replicas": 3}})
        wait_for(lambda: len(release.kube.items(CHILDREN[0])) == 3, SECONDS, "the pool is planned")


def test_the_clean_up_leaves_nothing_that_the_operator_made(release: Release, kube: Kube) -> None:
    with release.running(replicas=2):
        wait_for(release.children, SECONDS, "the pool has its children")
    kube.merge(f"{POOLS}/default/scale", {"spec": {"replicas": 1}})
    release.clean_up()
    assert release.children() == []
    assert not kube.items(POOLS)
    assert not kube.items(f"{OWN}/namespaces/{NAMESPACE}/placementslices")
    release.clean_up()  # there is nothing left to be done


def test_the_clean_up_waits_until_the_operator_has_ended(release: Release, kube: Kube) -> None:
    """There are no controllers here: this test deletes the operator's pod, which they would do."""
    labels, pods = {"component": "operator"}, f"/api/v1/namespaces/{NAMESPACE}/pods"
    container = {"name": "operator", "image": "none"}
    pod = {"metadata": {"name": "operator", "labels": labels}, "spec": {"containers": [container]}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    kube.apply(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default", ACCOUNT)  # pods need one
    kube.create(CHILDREN[0], {"metadata": {"name": "tenantry-operator"}, "spec": spec})
    kube.create(pods, pod)
    with release.running(replicas=1):
        wait_for(release.children, SECONDS, "the pool has its children")
    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(release.clean_up)
        path = f"{CHILDREN[0]}/tenantry-operator"
        wait_for(lambda: kube.get(path)["spec"]["replicas"] == 0, SECONDS, "the operator is stopped")
        assert release.children(), "they go when it can no longer put them back"
        kube.delete(f"{pods}/operator")
        ended.result()
    assert release.children() == []
    assert kube.get(path), "what the chart made is the chart's to delete"
