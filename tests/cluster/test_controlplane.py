"""What other tests rely on: a real API server, that it can go and come back, and pods on fake nodes."""

from __future__ import annotations

import json

import pytest

from cluster import commands
from cluster.controlplane import ControlPlane
from cluster.errors import KubectlError, StartError

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ranges.cluster.test}
spec:
  group: cluster.test
  scope: Namespaced
  names: {kind: Range, plural: ranges, singular: range}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {low: {type: integer}, high: {type: integer}}
              x-kubernetes-validations:
                - {rule: self.low < self.high, message: low must be below high}
"""

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: slot}
spec:
  replicas: 2
  selector: {matchLabels: {app: slot}}
  template:
    metadata: {labels: {app: slot}}
    spec:
      hostname: default-3
      subdomain: slots
      containers: [{name: predictor, image: none, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: slots}
spec: {clusterIP: None, selector: {app: slot}, ports: [{name: http, port: 8080}]}
"""


def range_manifest(low: int, high: int) -> str:
    return (
        "{apiVersion: cluster.test/v1, kind: Range, metadata: {name: sample}, "
        f"spec: {{low: {low}, high: {high}}}}}"
    )


@pytest.fixture(scope="module")
def ranges(control_plane: ControlPlane) -> ControlPlane:
    """A control plane that knows the kind Range."""
    control_plane.kubectl("apply", "-f", "-", stdin=CRD)
    control_plane.kubectl("wait", "--for=condition=Established", "crd/ranges.cluster.test")
    return control_plane


def test_cel_rule_refuses_with_its_sentence(ranges: ControlPlane) -> None:
    with pytest.raises(KubectlError, match="low must be below high"):
        ranges.kubectl("apply", "-f", "-", stdin=range_manifest(2, 1))


def test_objects_survive_an_outage_of_the_api_server(ranges: ControlPlane) -> None:
    ranges.kubectl("apply", "-f", "-", stdin=range_manifest(1, 2))
    ranges.stop_api_server()
    with pytest.raises(KubectlError, match="refused"):
        ranges.kubectl("get", "ranges")
    ranges.start_api_server()
    assert "sample" in ranges.kubectl("get", "ranges")


def test_service_account_has_only_the_rights_of_its_roles(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "serviceaccount", "reader")
    control_plane.kubectl("create", "role", "reader", "--verb=list", "--resource=configmaps")
    control_plane.kubectl("create", "rolebinding", "read", "--role=reader", "--serviceaccount=default:reader")
    reader = f"--kubeconfig={control_plane.kubeconfig_for('reader')}"
    assert control_plane.kubectl("get", "configmaps", reader, "--output=name") == ""
    with pytest.raises(KubectlError, match=r"User \"system:serviceaccount:default:reader\" cannot list"):
        control_plane.kubectl("get", "secrets", reader)


def test_pods_stay_pending_without_nodes() -> None:
    with ControlPlane(controllers=True) as plane:
        plane.kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
        plane.kubectl("wait", "--for=create", "pod", "--selector=app=slot", "--timeout=20s")
        pods = json.loads(plane.kubectl("get", "pods", "--output=json"))["items"]
    assert {pod["status"]["phase"] for pod in pods} == {"Pending"}


def test_deployment_on_fake_nodes_fills_endpoint_slices(control_plane_with_nodes: ControlPlane) -> None:
    plane = control_plane_with_nodes
    plane.kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    plane.kubectl("rollout", "status", "deployment/slot", "--timeout=30s")
    of_service = "--selector=kubernetes.io/service-name=slots"
    both_ready = "--for=jsonpath={.endpoints[1].conditions.ready}=true"
    plane.kubectl("wait", "endpointslice", of_service, both_ready, "--timeout=20s")
    [endpoint_slice] = json.loads(plane.kubectl("get", "endpointslices", "--output=json"))["items"]
    assert {endpoint["hostname"] for endpoint in endpoint_slice["endpoints"]} == {"default-3"}
    assert endpoint_slice["ports"][0] == {"name": "http", "port": 8080, "protocol": "TCP"}


def test_failed_start_tells_the_end_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "etcd", lambda *_: ["/bin/sh", "-c", "echo no room on disk; exit 1"])
    with pytest.raises(StartError, match=r"(?s)sh has ended.*no room on disk"), ControlPlane():
        pass
