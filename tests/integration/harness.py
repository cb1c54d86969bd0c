"""A whole Tenantry of real processes around a real API server: operator, predictors, router, artifacts."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import httpx

from cluster.controlplane import ControlPlane
from cluster.ports import free_ports
from cluster.processes import Process
from cluster.s3server import S3Server
from cluster.scope import Scope
from integration import artifacts
from integration.kube import OWN, ApiError, Kube
from integration.kubelet import Kubelet
from integration.waiting import wait_for

NAMESPACE = "tenantry"
"""The release's; models live in `default`."""
BUCKET = "models"
START_SECONDS = 120.0


def own_address() -> str:
    """An address of this machine that is not loopback, since EndpointSlices take no loopback address.

    Connecting a datagram socket chooses a source address and sends nothing.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address: str = probe.getsockname()[0]
    return address


class Installation(Scope):
    """A release: one pool `default`, one operator, one router."""

    def __init__(self, plane: ControlPlane, s3: S3Server, *, slots: int = 2, **pool: Any) -> None:
        self.plane = plane
        self.address = own_address()
        self._s3 = s3
        self._pool = {
            "replicas": slots,
            "storage": {"prefixes": [f"s3://{BUCKET}/"], "s3": {"endpoint": s3.endpoint_url}},
            **pool,
        }

    def _enter(self, stack: ExitStack) -> None:
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenantry-test-")))
        self.kube = Kube(self.plane.kubeconfig)
        stack.callback(self.kube.close)
        self._prepare(stack)
        self._start(stack)

    # Artifacts

    def put(self, key: str, content: bytes) -> str:
        """Stores an artifact and gives its URI."""
        self.store.put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def publish(self, name: str, slope: float, offset: float) -> dict[str, Any]:
        """A linear model under a key of its own: the `artifact` of a manifest, pinned."""
        content = artifacts.linear(slope, offset)
        sha256 = artifacts.digest(content)
        return {"uri": self.put(f"{name}/{sha256[:12]}.onnx", content), "sha256": sha256}

    # Models

    def apply(self, name: str, artifact: dict[str, Any], **spec: Any) -> dict[str, Any]:
        manifest = {
            "apiVersion": "tenantry.dev/v1alpha1",
            "kind": "TenantModel",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"artifact": artifact, **spec},
        }
        return self.kube.apply(self._model_path(name), manifest)

    def model(self, name: str) -> dict[str, Any]:
        return self.kube.get(self._model_path(name))

    def delete(self, name: str) -> None:
        self.kube.delete(self._model_path(name))

    def delete_all(self) -> None:
        """Every model, and until no slice names one."""
        self.kube.delete(f"{OWN}/namespaces/default/tenantmodels")
        wait_for(lambda: not self.entries(), START_SECONDS, "no entry is left in any slice")

    def condition(self, name: str, kind: str = "Ready") -> tuple[str, str]:
        """Status and reason, of the present generation; empty while there is none."""
        manifest = self.model(name)
        for condition in manifest.get("status", {}).get("conditions", ()):
            current = condition.get("observedGeneration") == manifest["metadata"]["generation"]
            if condition["type"] == kind and current:
                return condition["status"], condition["reason"]
        return "", ""

    def message(self, name: str, kind: str = "Ready") -> str:
        conditions = self.model(name).get("status", {}).get("conditions", ())
        return next((c["message"] for c in conditions if c["type"] == kind), "")

    def serve(self, count: int) -> None:
        """Models m0, m1 and so on, all Ready: of a row [1.0] number n makes n + 1."""
        for number in range(count):
            self.apply(f"m{number}", self.publish(f"m{number}", 1, number))
        for number in range(count):
            self.wait_answers(f"m{number}", number + 1)
            self.wait_ready(f"m{number}")

    def wait_ready(self, name: str, status: str = "True", seconds: float = 60.0) -> str:
        """The reason of Ready, once it has this status."""

        def reached() -> str | None:
            found, reason = self.condition(name)
            return reason if found == status else None

        return wait_for(reached, seconds, f"{name} has Ready={status}")

    def entries(self) -> dict[str, dict[str, Any]]:
        """What the slices say, by model key."""
        slices = self.kube.items(f"{OWN}/namespaces/{NAMESPACE}/placementslices")
        return {entry["model"]: entry for s in slices for entry in s.get("entries") or ()}

    def placement(self) -> dict[str, tuple[str, ...]]:
        """Slots by model key, of what is routed."""
        return {
            model: tuple(sorted(entry["targets"][0]["slots"]))
            for model, entry in self.entries().items()
            if entry.get("targets")
        }

    def scale(self, slots: int) -> None:
        path = f"{OWN}/predictorpools/default/scale"
        self.kube.merge(path, {"spec": {"replicas": slots}})

    # Predictions

    def predict(self, user: str, *rows: float) -> httpx.Response:
        return self.router.post(f"/predict/{user}", json=[[row] for row in rows])

    def answers(self, user: str, expected: float, row: float = 1.0) -> bool:
        """Whether the prediction for one row is this."""
        response = self.predict(user, row)
        return response.is_success and response.json() == [expected]

    def wait_answers(self, user: str, expected: float, seconds: float = 60.0) -> None:
        wait_for(lambda: self.answers(user, expected), seconds, f"{user} is answered with {expected}")

    # Processes

    def start_operator(self) -> None:
        self.operator.start()

    def expositions(self, part: str) -> list[str]:
        """What a part answers to Prometheus; of predictors, what each does."""
        urls = {
            "Operator": [f"http://127.0.0.1:{self.operator_port}"],
            "Router": [f"http://127.0.0.1:{self.router_port}"],
            "Predictor": [pod.url for pod in self.kubelet.pods()],
        }
        return [httpx.get(f"{url}/metrics", trust_env=False).text for url in urls[part]]

    def operator_log(self) -> str:
        return (self.directory / "operator.log").read_text()

    def _prepare(self, stack: ExitStack) -> None:
        self.store = boto3.client("s3", **self._s3.client_arguments)
        stack.callback(self.store.close)
        if BUCKET not in [bucket["Name"] for bucket in self.store.list_buckets()["Buckets"]]:
            self.store.create_bucket(Bucket=BUCKET)
        try:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            self.kube.create("/api/v1/namespaces", namespace)
        except ApiError as error:
            if error.status != 409:
                raise
        stack.callback(self._clean_up)

    def _clean_up(self) -> None:
        """Leaves an API server without anything of this release; nobody else does here."""
        for path in (
            f"{OWN}/namespaces/default/tenantmodels",
            f"{OWN}/predictorpools",
            f"{OWN}/namespaces/{NAMESPACE}/placementslices",
            f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments",
            f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices",
        ):
            self.kube.delete(path)

    def _start(self, stack: ExitStack) -> None:
        keys = self._s3.client_arguments
        environment = {
            "AWS_ACCESS_KEY_ID": keys["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": keys["aws_secret_access_key"],
            "AWS_DEFAULT_REGION": keys["region_name"],
        }
        log = self.directory / "kubelet"
        log.mkdir()
        self.kubelet = stack.enter_context(Kubelet(self.kube, NAMESPACE, log, self.address, environment))
        self.operator = self._launch(stack, "operator", self._operator_command())
        [self.router_port] = free_ports(1)
        self.router_process = self._launch(stack, "router", self._router_command())
        url = f"http://127.0.0.1:{self.router_port}"
        self.router = httpx.Client(base_url=url, timeout=30, trust_env=False)
        stack.callback(self.router.close)
        wanted = {f"default-{number}" for number in range(self._pool["replicas"])}
        wait_for(lambda: self.kubelet.ready_slots() == wanted, START_SECONDS, "all slots are ready")
        wait_for(self._router_is_ready, START_SECONDS, "the router is ready")

    def _router_is_ready(self) -> bool:
        try:
            return self.router.get("/v2/health/ready").is_success
        except httpx.HTTPError:
            return False

    def _operator_command(self) -> list[str]:
        pool = self.directory / "pool.yaml"
        pool.write_text(json.dumps(self._pool))
        command = [sys.executable, "-m", "tenantry_operator", f"--namespace={NAMESPACE}", "--standalone"]
        command += [f"--default-pool={pool}", "--router-url=http://router.example"]
        [self.operator_port] = free_ports(1)
        return [*command, f"--metrics-port={self.operator_port}"]

    def _router_command(self) -> list[str]:
        command = [sys.executable, "-m", "tenantry_router", f"--snapshot={self.directory / 'snapshot'}"]
        return [*command, f"--port={self.router_port}", f"--feed-namespace={NAMESPACE}"]

    def _launch(self, stack: ExitStack, name: str, command: list[str]) -> Process:
        log = self.directory / f"{name}.log"
        process = Process(command, log, KUBECONFIG=str(self.plane.kubeconfig))
        stack.callback(process.stop)
        process.start()
        return process

    def _model_path(self, name: str) -> str:
        return f"{OWN}/namespaces/default/tenantmodels/{name}"
