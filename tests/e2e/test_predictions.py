"""Predictions by every way that leads to the routers, and what people see of the release."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
import yaml
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import triton_to_np_dtype

from e2e.conftest import Note
from e2e.installation import NAMESPACE, TENANTS, Installation
from tenantry import Client

ASK = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


def test_every_tenant_is_answered_as_its_model_in_memory_answers(installation: Installation) -> None:
    with installation.traffic() as traffic:
        window = traffic.go_on(3)
    assert len({answer.number % TENANTS for answer in window.answers}) == TENANTS
    assert window.failures == []
    assert len(window.slots) == 3


def test_a_client_reaches_the_routers_by_the_nodes_port(installation: Installation) -> None:
    service = installation.kube.get(f"/api/v1/namespaces/{NAMESPACE}/services/tenantry-router")
    tenant = installation.tenants[0]
    port = service["spec"]["ports"][0]["nodePort"]
    with Client(f"http://{installation.node.address}:{port}") as client:
        prediction = client.prediction(tenant.name, tenant.trained.rows.head(1))
    assert tenant.is_right(json.dumps(prediction.values.tolist()).encode())
    assert prediction.route.model == f"default.{tenant.name}"


def test_the_routers_answer_by_grpc(installation: Installation) -> None:
    address, port = installation.service("tenantry-router", "grpc")
    tenant = installation.tenants[0]
    with InferenceServerClient(f"{address}:{port}") as client:
        inputs = [
            as_input(tensor, tenant.trained.rows.head(1))
            for tensor in client.get_model_metadata(tenant.name).inputs
        ]
        answer = client.infer(tenant.name, inputs)
    first = answer.get_response().outputs[0].name
    values = answer.as_numpy(first).reshape(-1).tolist()
    said = [value.decode() if isinstance(value, bytes) else value for value in values]
    assert tenant.is_right(json.dumps(said).encode())


def as_input(tensor: Any, rows: pd.DataFrame) -> InferInput:
    """A column, or where the model has one input for all, the whole table."""
    table = rows[[tensor.name]] if tensor.name in rows else rows
    values = table.to_numpy().astype(triton_to_np_dtype(tensor.datatype))
    made = InferInput(tensor.name, values.shape, tensor.datatype)
    made.set_data_from_numpy(values)
    return made


@pytest.mark.parametrize("way", ["name", "address"])
def test_pods_reach_the_routers(installation: Installation, way: str) -> None:
    address, port = installation.service("tenantry-router")
    host = {"name": f"tenantry-router.{NAMESPACE}.svc.cluster.local", "address": f"{address}:{port}"}[way]
    tenant = installation.tenants[1]
    [operator] = installation.pods("operator")
    answer = installation.kubectl(
        "exec",
        f"--namespace={NAMESPACE}",
        operator["metadata"]["name"],
        "--",
        *("python", "-c", ASK, f"http://{host}/predict/{tenant.name}", tenant.body.decode()),
    )
    assert tenant.is_right(answer.encode())


def test_every_pod_keeps_to_the_strictest_standard(installation: Installation) -> None:
    namespace = installation.kube.get(f"/api/v1/namespaces/{NAMESPACE}")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in installation.items("pods"):
        [container] = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, pod["metadata"]["name"]
    for pod in installation.pods("predictor"):
        assert pod["spec"]["automountServiceAccountToken"] is False


def test_columns_tell_what_serves(installation: Installation, note: Note) -> None:
    lines = installation.kubectl("get", "tenantmodels").splitlines()
    assert lines[0].split() == ["NAME", "TENANT", "READY", "VERSION", "REPLICAS", "SIZE", "REASON", "AGE"]
    assert len(lines) == TENANTS + 1
    name, tenant, ready, version, replicas, size, reason, _ = lines[1].split()
    model = installation.models()[name]
    assert (tenant, ready, replicas, reason) == (name, "True", "1", "Probed")
    assert model["spec"]["artifact"]["sha256"].startswith(version)
    assert size.endswith("i")
    pool = installation.kubectl("get", "predictorpools").splitlines()
    assert pool[1].split()[:4] == ["default", "3", "3", str(TENANTS)]
    for line in (lines[0], lines[1], *pool):
        note(line)


def test_the_command_acts_on_the_cluster(installation: Installation) -> None:
    """`tenantry predict` and `explain` reach the routers through the API server."""
    tenant = installation.tenants[2]
    rows = installation.node.directory / "rows.json"
    rows.write_bytes(tenant.body)
    assert tenant.is_right(installation.tenantry("predict", tenant.name, "-f", str(rows)).encode())
    explained = yaml.safe_load(installation.tenantry("explain", tenant.name))
    assert explained["model"] == f"default.{tenant.name}"
    assert explained["slot"] in installation.placement()[f"default.{tenant.name}"]
