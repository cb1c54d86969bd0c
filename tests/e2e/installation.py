"""A release on a real node, made by the tour: what tests do to it and ask of it."""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cluster import programs
from cluster.binaries import require
from cluster.kubeconfig import CONTEXT
from cluster.node import Node
from e2e.flights import Tenant
from e2e.traffic import Traffic
from integration.kube import OWN, Kube
from load.target import Target
from tenantry import publish
from tenantry.demo_models import Trained

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = RELEASE = "tenantry"
SLOTS = 3
TENANTS = 50
Object = dict[str, Any]

_CHART = ROOT / "deploy/helm/tenantry"
_VALUES = (ROOT / "deploy/kind/values.yaml", ROOT / "tests/e2e/values.yaml")


class Installation:
    """The API server is asked directly where only looking is meant: kubectl costs the load a core."""

    def __init__(self, node: Node, tenants: Sequence[Tenant]) -> None:
        self.node = node
        self.tenants = tenants
        self.kube = Kube(node.kubeconfig)
        self.http = httpx.Client(timeout=10.0, trust_env=False)
        programs_here = [str(require(program).parent) for program in (programs.KUBECTL, programs.HELM)]
        path = os.pathsep.join([*programs_here, os.environ["PATH"]])
        self._environment = os.environ | {"PATH": path, "TMPDIR": str(node.directory)}

    def close(self) -> None:
        self.http.close()
        self.kube.close()

    # What people do

    def tour(self, *steps: str) -> str:
        """Takes steps of the tour; its output."""
        options = [f"--kubeconfig={self.node.kubeconfig}", f"--values={_VALUES[1]}", f"--tenants={TENANTS}"]
        arguments = [part for option in options for part in option.split("=", 1)]
        return self._run(ROOT / "deploy/kind/tour", *arguments, *steps)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.node.kubectl(*arguments, stdin=stdin)

    def tenantry(self, *arguments: str) -> str:
        """The project's command, on the cluster; what it prints to be used."""
        verb, *rest = arguments
        # Somebody's `tenantry up` on this machine would come first.
        command = [sys.executable, "-m", "tenantry.main", verb, f"--context={CONTEXT}", *rest]
        environment = self._environment | {"KUBECONFIG": str(self.node.kubeconfig)}
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def helm(self, *arguments: str | Path) -> str:
        return self._run(
            "helm", f"--kubeconfig={self.node.kubeconfig}", f"--namespace={NAMESPACE}", *arguments
        )

    def upgrade(self, *arguments: str, chart: Path = _CHART) -> str:
        values = [f"--values={path}" for path in _VALUES]
        return self.helm(
            "upgrade", "--install", RELEASE, chart, *values, "--wait", "--timeout=5m", *arguments
        )

    def publish(self, trained: Trained) -> Object:
        """Puts a model into the cluster's store: its manifest."""
        credentials = self.secret("demo-s3")
        address, port = self.service("demo-s3")
        store = credentials | {
            "AWS_ENDPOINT_URL": f"http://{address}:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        with _environment(store):
            published = publish(
                trained.model, tenant=trained.tenant, to="s3://models/default", sample=trained.rows
            )
        return published.manifest()

    def apply(self, *manifests: Object) -> str:
        text = yaml.safe_dump_all(manifests)
        return self.kubectl("apply", "--namespace=default", "-f", "-", stdin=text)

    def change(self, manifest: Object) -> None:
        """Another `spec` for a model that is there; kubectl's own start would be felt by the load."""
        name = manifest["metadata"]["name"]
        self.kube.merge(f"{OWN}/namespaces/default/tenantmodels/{name}", {"spec": manifest["spec"]})

    def traffic(self) -> Traffic:
        """All tenants, through the Service."""
        return Traffic(Target(*self.service("tenantry-router")), self.tenants)

    # What there is

    def items(self, plural: str, group: str = "", namespace: str = NAMESPACE, **query: str) -> list[Object]:
        prefix = f"/apis/{group}" if group else "/api/v1"
        return self.kube.items(f"{prefix}/namespaces/{namespace}/{plural}", **query)

    def pods(self, component: str) -> list[Object]:
        """Those of a part that are not on their way out."""
        selector = f"app.kubernetes.io/name=tenantry,app.kubernetes.io/component={component}"
        found = self.items("pods", labelSelector=selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def predictor(self, slot: str) -> Object:
        """The pod behind a slot."""
        [pod] = [p for p in self.pods("predictor") if p["metadata"]["labels"]["tenantry.dev/slot"] == slot]
        return pod

    def models(self) -> dict[str, Object]:
        found = self.kube.items(f"{OWN}/namespaces/default/tenantmodels")
        return {model["metadata"]["name"]: model for model in found}

    def pool(self) -> Object:
        return self.kube.get(f"{OWN}/predictorpools/default")

    def placement(self) -> dict[str, frozenset[str]]:
        """Slots by model, of what is routed."""
        return {
            entry["model"]: frozenset(slot for target in entry["targets"] for slot in target["slots"])
            for entry in self.entries().values()
            if entry.get("targets")
        }

    def entries(self) -> dict[str, Object]:
        slices = self.items("placementslices", "tenantry.dev/v1alpha1")
        return {entry["model"]: entry for piece in slices for entry in piece.get("entries") or ()}

    def service(self, name: str, port: str = "http") -> tuple[str, int]:
        """The Service's own address, which leads through kube-proxy, and one of its ports."""
        spec = self.kube.get(f"/api/v1/namespaces/{NAMESPACE}/services/{name}")["spec"]
        ports = {named["name"]: named["port"] for named in spec["ports"]}
        return spec["clusterIP"], ports[port]

    def secret(self, name: str) -> dict[str, str]:
        data = self.kube.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}")["data"]
        return {key: b64decode(value).decode() for key, value in data.items()}

    def metric(self, pod: Object, name: str, port: int = 8080, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        text = self.http.get(f"http://{pod['status']['podIP']}:{port}/metrics").raise_for_status().text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def explain(self, router: Object, tenant: str) -> Object:
        """How one router would serve a tenant."""
        answer = self.http.get(f"http://{router['status']['podIP']}:8080/explain/{tenant}")
        document: Object = answer.raise_for_status().json()
        return document

    def _run(self, *command: str | Path) -> str:
        answer = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=600, check=False
        )
        if answer.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}\n{answer.stdout}\n{answer.stderr}")
        return answer.stdout + answer.stderr


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
