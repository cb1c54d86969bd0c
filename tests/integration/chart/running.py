"""A release that runs: its containers as processes here, each with the rights that the chart gives it."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import boto3
import httpx

from cluster.controlplane import ControlPlane
from cluster.ports import free_ports
from cluster.processes import Process
from cluster.s3server import S3Server
from cluster.scope import Scope
from integration.chart.release import NAMESPACE, Release
from integration.harness import START_SECONDS, own_address
from integration.kube import Kube
from integration.kubelet import Kubelet
from integration.waiting import wait_for

BUCKET = "chart"
SLOTS = {"default-0", "default-1"}


class Running(Scope):
    """Operator, router and predictors of a release that was installed with `values`."""

    def __init__(self, plane: ControlPlane, release: Release, s3: S3Server) -> None:
        self._plane = plane
        self._release = release
        self._s3 = s3
        s3_service = {"endpoint": s3.endpoint_url}
        storage = {"prefixes": [f"s3://{BUCKET}/"], "s3": s3_service}
        self.values = {"defaultPool": {"spec": {"replicas": len(SLOTS), "storage": storage}}}

    def _enter(self, stack: ExitStack) -> None:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tenantry-chart-"))
        self._directory = Path(directory)
        self._mount()
        self._start(stack)

    def put(self, key: str, content: bytes) -> str:
        """Stores an artifact and gives its URI."""
        self._store.put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def log(self, part: str) -> str:
        return (self._directory / f"{part}.log").read_text()

    def _mount(self) -> None:
        """What pods find in their volumes."""
        self._tokens = self._directory / "token"
        self._tokens.write_text("\n".join(self._release.tokens()))
        self._pool = self._directory / "pool.yaml"
        self._pool.write_text(self._release.get("configmap", "tenantry-default-pool")["data"]["pool.yaml"])

    def _start(self, stack: ExitStack) -> None:
        keys = self._s3.client_arguments
        self._store = boto3.client("s3", **keys)
        stack.callback(self._store.close)
        self._store.create_bucket(Bucket=BUCKET)
        kube = Kube(self._plane.kubeconfig)
        stack.callback(kube.close)
        environment = {
            "AWS_ACCESS_KEY_ID": keys["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": keys["aws_secret_access_key"],
            "AWS_DEFAULT_REGION": keys["region_name"],
        }
        self.kubelet = stack.enter_context(
            Kubelet(kube, NAMESPACE, self._directory, own_address(), environment, self._tokens)
        )
        port, grpc_port, metrics_port = free_ports(3)
        mounted = {"--token-file": self._tokens, "--default-pool": self._pool}
        self.operator = self._launch(stack, "operator", mounted | {"--metrics-port": metrics_port})
        here = {
            "--host": "127.0.0.1",
            "--port": port,
            "--grpc-port": grpc_port,
            "--snapshot": self._directory / "snapshot",
        }
        self._launch(stack, "router", mounted | here)
        url = f"http://127.0.0.1:{port}"
        self.router = stack.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))
        wait_for(lambda: self.kubelet.ready_slots() == SLOTS, START_SECONDS, "all slots are ready")

    def _launch(self, stack: ExitStack, part: str, here: dict[str, object]) -> Process:
        """The part's container: its arguments but for what is elsewhere on this machine."""
        pod = self._release.get("deployment", f"tenantry-{part}")["spec"]["template"]["spec"]
        kubeconfig = self._plane.kubeconfig_for(pod["serviceAccountName"], NAMESPACE)
        stated = dict(argument.split("=", 1) for argument in pod["containers"][0]["args"])
        arguments = [f"{name}={here.get(name, value)}" for name, value in stated.items()]
        command = [sys.executable, "-m", f"tenantry_{part}", *arguments]
        process = Process(command, self._directory / f"{part}.log", KUBECONFIG=str(kubeconfig))
        stack.callback(process.stop)
        process.start()
        return process
