"""What a pool becomes in a cluster: Kubernetes' own controllers act on it, on nodes that only pretend."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.controlplane import ControlPlane
from cluster.processes import Process
from integration.definitions import install
from integration.kube import OWN, ApiError, Kube
from integration.waiting import wait_for

NAMESPACE = "tenantry"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
BUDGET = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/tenantry-predictor-default"
SECONDS = 60.0
SLOTS = 3


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """A cluster with controllers and an operator, in a namespace that lets in only restricted pods."""
    with ControlPlane(fake_nodes=2) as plane:
        install(plane)
        plane.kubectl("create", "namespace", NAMESPACE)
        label = "pod-security.kubernetes.io/enforce=restricted"
        plane.kubectl("label", "namespace", NAMESPACE, label)
        client = Kube(plane.kubeconfig)
        operator = start_operator(plane, tmp_path_factory.mktemp("operator"))
        try:
            yield client
        finally:
            operator.stop()
            client.close()


def start_operator(plane: ControlPlane, directory: Path) -> Process:
    pool = {
        "replicas": SLOTS,
        "cache": {"memory": "1Gi", "disk": "2Gi"},
        "storage": {"s3": {"secretRef": {"name": "keys"}}},
    }
    values = directory / "pool.yaml"
    values.write_text(json.dumps(pool))
    command = [sys.executable, "-m", "tenantry_operator", f"--namespace={NAMESPACE}", "--standalone"]
    command += [f"--default-pool={values}", "--predictor-image=registry.example/tenantry/predictor:1"]
    command += ["--image-pull-policy=Never", "--image-pull-secret=pull", "--token-secret=tenantry-token"]
    operator = Process(command, directory / "log", KUBECONFIG=str(plane.kubeconfig))
    operator.start()
    return operator


def pods(kube: Kube, slot: str = "") -> list[dict[str, Any]]:
    """Those that are not being deleted."""
    selector = f"tenantry.dev/slot={slot}" if slot else "tenantry.dev/pool=default"
    return [p for p in kube.items(PODS, labelSelector=selector) if "deletionTimestamp" not in p["metadata"]]


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@pytest.fixture(autouse=True)
def settled(kube: Kube) -> None:
    """Every slot has one pod, which is ready, and the budget knows."""
    wait_for(
        lambda: len(found := pods(kube)) == SLOTS and all(map(is_ready, found)),
        SECONDS,
        "all slots have pods",
    )
    wait_for(lambda: allowed(kube) == 1, SECONDS, "one pod may be evicted")


def allowed(kube: Kube) -> int:
    """Pods, by a status that is of the present budget; none while there is no budget."""
    try:
        budget = kube.get(BUDGET)
    except ApiError:
        return 0
    status: dict[str, int] = budget.get("status", {})
    current = status.get("observedGeneration") == budget["metadata"]["generation"]
    return status.get("disruptionsAllowed", 0) if current and status.get("expectedPods") == SLOTS else 0


def evict(kube: Kube, pod: dict[str, Any]) -> None:
    name = pod["metadata"]["name"]
    metadata = {"name": name, "namespace": NAMESPACE}
    kube.create(
        f"{PODS}/{name}/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    )


@contextmanager
def cordoned(kube: Kube) -> Iterator[None]:
    """No node takes a new pod."""
    nodes = [f"/api/v1/nodes/{node['metadata']['name']}" for node in kube.items("/api/v1/nodes")]
    for node in nodes:
        kube.merge(node, {"spec": {"unschedulable": True}})
    try:
        yield
    finally:
        for node in nodes:
            kube.merge(node, {"spec": {"unschedulable": None}})


def test_a_pod_is_what_its_pool_asks_for(kube: Kube) -> None:
    [pod] = pods(kube, "default-1")
    spec = pod["spec"]
    [container] = spec["containers"]
    assert (spec["hostname"], spec["subdomain"]) == ("default-1", "tenantry-predictor-default")
    assert "command" not in container, "the image knows"
    assert container["image"] == "registry.example/tenantry/predictor:1"
    assert container["imagePullPolicy"] == "Never"
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
        "http": 8080,
        "metrics": 8081,
    }
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"memory": "2Gi"},
    }
    [cache] = [volume for volume in spec["volumes"] if volume["name"] == "cache"]
    assert int(cache["emptyDir"]["sizeLimit"].removesuffix("Gi")) > 2
    assert not any("serviceaccount" in mount["mountPath"] for mount in container["volumeMounts"])


def test_one_pod_of_a_pool_is_evicted_at_a_time(kube: Kube) -> None:
    """Though each belongs to a Deployment of its own: the budget counts them together."""
    first, second, _ = pods(kube)
    with cordoned(kube):  # or the successor might be ready before the second is asked for
        evict(kube, first)
        with pytest.raises(ApiError, match="disruption budget"):
            evict(kube, second)


def test_the_operator_takes_slots_away_whatever_the_budget_says(kube: Kube) -> None:
    evict(kube, pods(kube)[0])
    kube.merge(f"{OWN}/predictorpools/default/scale", {"spec": {"replicas": 1}})
    try:
        wait_for(lambda: len(pods(kube)) == 1, SECONDS, "one slot is left")
    finally:
        kube.merge(f"{OWN}/predictorpools/default/scale", {"spec": {"replicas": SLOTS}})


def test_a_changed_template_rolls_every_slot(kube: Kube) -> None:
    old = {pod["metadata"]["uid"] for pod in pods(kube)}
    env = [{"name": "ROLLED", "value": "yes"}]
    kube.merge(f"{OWN}/predictorpools/default", {"spec": {"template": {"env": env}}})
    wait_for(
        lambda: len(found := pods(kube)) == SLOTS and not old & {pod["metadata"]["uid"] for pod in found},
        2 * SECONDS,
        "all pods are new",
    )


def test_what_belongs_to_a_pool_goes_with_it(kube: Kube) -> None:
    spec = {"replicas": 1, "template": {"serviceAccountName": "default"}}
    metadata = {"name": "other"}
    manifest = {"apiVersion": "tenantry.dev/v1alpha1", "kind": "PredictorPool", "metadata": metadata}
    kube.create(f"{OWN}/predictorpools", manifest | {"spec": spec})
    kinds = (
        DEPLOYMENTS,
        f"/api/v1/namespaces/{NAMESPACE}/services",
        f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets",
        f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies",
    )

    def children() -> int:
        return sum(len(kube.items(path, labelSelector="tenantry.dev/pool=other")) for path in kinds)

    wait_for(lambda: children() == len(kinds), SECONDS, "it has one of each kind")
    kube.delete(f"{OWN}/predictorpools/other")
    wait_for(lambda: children() == 0, SECONDS, "none is left")
