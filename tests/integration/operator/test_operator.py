"""The operator as a process: its pool and children, many models at once, two of them, no API server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.controlplane import ControlPlane
from cluster.ports import free_ports
from cluster.processes import Process
from cluster.s3server import S3Server
from integration import artifacts
from integration.harness import NAMESPACE, START_SECONDS, Installation
from integration.kube import OWN, Kube
from integration.waiting import wait_for

MANY = 1000
SECONDS_FOR_MANY = 120.0
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/tenantry-operator"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"


@pytest.fixture(scope="module")
def installation(plane: ControlPlane, s3_server: S3Server) -> Iterator[Installation]:
    with Installation(plane, s3_server) as made:
        yield made


def deployments(installation: Installation) -> dict[str, dict[str, Any]]:
    return {d["metadata"]["name"]: d for d in installation.kube.items(DEPLOYMENTS)}


def test_the_default_pool_and_its_children_are_there(installation: Installation) -> None:
    kubectl = installation.plane.kubectl
    wait_for(
        lambda: "2 of 2 slots are ready" in kubectl("describe", "predictorpools", "default"),
        60,
        "the pool is ready",
    )
    assert set(deployments(installation)) == {"tenantry-predictor-default-0", "tenantry-predictor-default-1"}
    for kind in ("service", "poddisruptionbudget", "networkpolicy"):
        wait_for(
            lambda kind=kind: (
                "tenantry-predictor-default" in kubectl("get", kind, f"--namespace={NAMESPACE}")
            ),  # type: ignore[misc]
            60,
            f"there is a {kind}",
        )
    scale = installation.kube.get(f"{OWN}/predictorpools/default/scale")
    assert scale["status"] == {"replicas": 2, "selector": "tenantry.dev/pool=default"}


def test_a_deployment_that_was_deleted_comes_back(installation: Installation) -> None:
    old = deployments(installation)["tenantry-predictor-default-1"]["metadata"]["uid"]
    installation.kube.delete(f"{DEPLOYMENTS}/tenantry-predictor-default-1")

    def uid() -> str:
        found = deployments(installation).get("tenantry-predictor-default-1")
        return str(found["metadata"]["uid"]) if found else old

    wait_for(lambda: uid() != old, 60, "there is another one")
    wait_for(lambda: len(installation.kubelet.ready_slots()) == 2, START_SECONDS, "both slots are ready")


def test_a_changed_template_rolls_slot_by_slot(installation: Installation) -> None:
    installation.apply("rolled", installation.publish("rolled", 1, 1))
    installation.wait_answers("rolled", 2)
    old = {pod.uid for pod in installation.kubelet.pods()}
    env = [{"name": "ROLLED", "value": "yes"}]
    installation.kube.merge(f"{OWN}/predictorpools/default", {"spec": {"template": {"env": env}}})
    fewest = 2

    def rolled() -> bool:
        nonlocal fewest
        assert installation.answers("rolled", 2)
        fewest = min(fewest, len(installation.kubelet.ready_slots()))
        pods = [pod for pod in installation.kubelet.pods() if not pod.terminating]
        assert len(pods) <= 3, "more than one slot surges"
        return len(pods) == 2 and not old & {pod.uid for pod in pods}

    wait_for(rolled, START_SECONDS, "both slots have new pods")
    assert fewest == 2


@pytest.mark.slow
def test_many_models_at_once(installation: Installation) -> None:
    content = artifacts.linear(1, 1)
    artifact = {"uri": installation.put("many.onnx", content), "sha256": artifacts.digest(content)}
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: installation.apply(f"many-{number}", artifact), range(MANY)))
    applied = time.monotonic() - began
    wait_for(
        lambda: sum(model.startswith("default.many-") for model in installation.placement()) == MANY,
        SECONDS_FOR_MANY,
        "all are routed",
    )
    routed = time.monotonic() - began
    print(f"{MANY} models: applied in {applied:.1f} s, all routed after {routed:.1f} s")
    for number in range(0, MANY, 100):
        installation.wait_answers(f"many-{number}", 2)
    installation.delete_all()


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["terminate", "stop"])
def test_of_two_operators_one_leads_and_the_other_takes_over(
    plane: ControlPlane, kube: Kube, tmp_path: Path, ending: str
) -> None:
    """One that is told to end gives its Lease up; that of one which is killed has to run out."""
    first, second = (operator(plane, tmp_path, name) for name in ("first", "second"))
    try:
        first.start()
        wait_for(lambda: first.state() == "leading", START_SECONDS, "the first leads")
        second.start()
        wait_for(lambda: second.state() == "standing by", START_SECONDS, "the second waits")
        holder = kube.get(LEASE)["spec"]["holderIdentity"]
        getattr(first.process, ending)()
        wait_for(lambda: not first.process.is_running, 60, "the first has ended")
        if ending == "terminate":
            assert kube.get(LEASE)["spec"]["holderIdentity"] != holder
        wait_for(lambda: second.state() == "leading", 60, "the second leads")
    finally:
        first.process.stop()
        second.process.stop()


class Operator:
    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self._url = f"http://127.0.0.1:{port}/readyz"

    def start(self) -> None:
        self.process.start()

    def state(self) -> str:
        try:
            return httpx.get(self._url, trust_env=False).text.strip()
        except httpx.HTTPError:
            return ""


def operator(plane: ControlPlane, directory: Path, name: str) -> Operator:
    [port] = free_ports(1)
    command = [sys.executable, "-m", "tenantry_operator", "--namespace=default", f"--metrics-port={port}"]
    return Operator(Process(command, directory / f"{name}.log", KUBECONFIG=str(plane.kubeconfig)), port)


def test_an_unreachable_api_server_is_named_and_tried_again(tmp_path: Path, plane: ControlPlane) -> None:
    """For as long as it takes: the kubelet is told that all is well with the process."""
    port, own = free_ports(2)
    config = plane.kubeconfig.read_text().replace(plane.url, f"https://127.0.0.1:{port}")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(config)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "tenantry_operator", "--namespace=default", f"--metrics-port={own}"]
    process = Process(command, log, KUBECONFIG=str(kubeconfig))
    process.start()
    try:
        said = wait_for(
            lambda: lines if len(lines := log.read_text().splitlines()) >= 2 else None,
            START_SECONDS,
            "it says so twice",
        )
        assert all("cannot reach the API server, trying again" in line for line in said)
        assert httpx.get(f"http://127.0.0.1:{own}/livez", trust_env=False).is_success
        assert httpx.get(f"http://127.0.0.1:{own}/readyz", trust_env=False).status_code == 503
        process.terminate()
        wait_for(lambda: not process.is_running, 60, "it ends when asked to")
        assert "Traceback" not in log.read_text()
    finally:
        process.stop()
