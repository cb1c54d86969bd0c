"""Operator, router and predictors do all they have to with the rights and arguments that the chart gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from cluster.controlplane import ControlPlane
from cluster.errors import KubectlError
from cluster.s3server import S3Server
from integration import artifacts
from integration.chart.release import NAMESPACE, Release
from integration.chart.running import SLOTS, Running
from integration.chart.uninstalling import uninstall
from integration.harness import START_SECONDS
from integration.waiting import wait_for


@pytest.fixture(scope="module")
def running(plane: ControlPlane, release: Release, s3_server: S3Server) -> Iterator[Running]:
    """The last test uninstalls it."""
    made = Running(plane, release, s3_server)
    release.install(made.values)
    with made:
        yield made


def apply(plane: ControlPlane, name: str, uri: str) -> None:
    manifest = {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantModel",
        "metadata": {"name": name},
        "spec": {"artifact": {"uri": uri}},
    }
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def answer(running: Running, user: str) -> list[float] | None:
    try:
        response = running.router.post(f"/predict/{user}", json=[[2.0]])
    except httpx.TransportError:
        return None
    return response.json() if response.is_success else None


def test_a_model_is_served_and_told_of(plane: ControlPlane, running: Running) -> None:
    apply(plane, "acme", running.put("acme.onnx", artifacts.linear(3, 1)))
    wait_for(lambda: answer(running, "acme") == [7.0], START_SECONDS, "acme is answered")
    plane.kubectl("wait", "tenantmodel/acme", "--for=condition=Ready", "--timeout=100s")
    plane.kubectl("wait", "predictorpool/default", "--for=condition=Ready", "--timeout=100s")
    about = ["events", "--field-selector=involvedObject.name=acme", "--output=name"]
    assert wait_for(lambda: plane.kubectl("get", *about), 60, "an Event tells of acme")
    url = plane.kubectl("get", "tenantmodel/acme", "--output=jsonpath={.status.url}")
    assert url == f"http://tenantry-router.{NAMESPACE}.svc/predict/acme"


def test_one_operator_leads(running: Running, release: Release) -> None:
    lease = release.get("lease", "tenantry-operator")
    assert lease["spec"]["holderIdentity"]
    assert "leading" in running.log("operator")


def test_predictors_pods_pass_pod_security_restricted(running: Running, release: Release) -> None:
    release.admit(release.get("deployment", "tenantry-predictor-default-0")["spec"]["template"])


def test_predictors_refuse_who_has_no_token(running: Running) -> None:
    pod = running.kubelet.pods("default-0")[0]
    assert httpx.post(f"{pod.url}/predict", json=[[1]], trust_env=False).status_code == 401


def test_slots_come_and_go(plane: ControlPlane, running: Running, release: Release) -> None:
    leaving = "deployment.apps/tenantry-predictor-default-1"
    plane.kubectl("scale", "predictorpool/default", "--replicas=1")
    wait_for(lambda: leaving not in release.names("deployment"), START_SECONDS, "a slot has left")
    plane.kubectl("scale", "predictorpool/default", "--replicas=2")
    wait_for(lambda: running.kubelet.ready_slots() == SLOTS, START_SECONDS, "it is there again")
    wait_for(lambda: answer(running, "acme") == [7.0], 60, "acme is answered")


@pytest.mark.parametrize("account", ["tenantry-operator", "tenantry-router", "tenantry-predictor"])
def test_nobody_reads_secrets(plane: ControlPlane, running: Running, account: str) -> None:
    acts_as = f"--kubeconfig={plane.kubeconfig_for(account, NAMESPACE)}"
    with pytest.raises(KubectlError, match="cannot list resource"):
        plane.kubectl(acts_as, "get", "secrets", f"--namespace={NAMESPACE}")
    with pytest.raises(KubectlError, match="cannot get resource"):
        plane.kubectl(acts_as, "get", "secret", "tenantry-token", f"--namespace={NAMESPACE}")


def test_nothing_was_forbidden(running: Running) -> None:
    for part in ("operator", "router"):
        assert not re.search(r"cannot \w+ resource|forbidden", running.log(part)), running.log(part)


def test_uninstalling_takes_what_the_operator_made(
    plane: ControlPlane, running: Running, release: Release
) -> None:
    running.operator.terminate()
    wait_for(lambda: not running.operator.is_running, 60, "the operator has ended, as its pod would")
    uninstall(plane, release)
    assert release.left() == set()
    assert plane.kubectl("get", "predictorpools,tenantmodels", "--output=name").split() == [
        # To scale it was no edit: the pool was still the operator's.
        "tenantmodel.tenantry.dev/acme"
    ]
