"""Plays kubelet, Deployment controller and endpoint controller for slots: processes on this host for pods."""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from cluster.ports import free_ports
from cluster.processes import Process
from integration.kube import ApiError, Kube

_PERIOD = 0.1
_PROBE_SECONDS = 0.5
_PROBES_TO_FAIL = 3
"""That time out, one after another, as kubelets count: on a busy machine one says nothing."""
SLOT_LABEL, POOL_LABEL = "tenantry.dev/slot", "tenantry.dev/pool"


@dataclass
class Pod:
    """A predictor. A container that is restarted keeps uid and address, as in a cluster."""

    slot: str
    pool: str
    service: str
    revision: str
    """What the process was started as; another one makes another pod."""
    host: str
    port: int
    process: Process
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    ready: bool = False
    terminating: bool = False
    restarts: int = 0
    late_probes: int = 0
    """Since the last one that was answered."""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def endpoint_slice(self, namespace: str) -> dict[str, Any]:
        """One of its own, since the ports of a slice are those of all its endpoints."""
        conditions = {
            "ready": self.ready and not self.terminating,
            "serving": self.ready,
            "terminating": self.terminating,
        }
        reference = {"kind": "Pod", "name": self.slot, "namespace": namespace, "uid": self.uid}
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{self.service}-{self.uid[:8]}",
                "namespace": namespace,
                "labels": {POOL_LABEL: self.pool, "kubernetes.io/service-name": self.service},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": self.port, "protocol": "TCP"}],
            "endpoints": [
                {
                    "addresses": [self.host],
                    "hostname": self.slot,
                    "conditions": conditions,
                    "targetRef": reference,
                }
            ],
        }


class Kubelet:
    """Runs what the Deployments of slots ask for, restarts what dies, and publishes who is ready.

    Its thread starts the processes, so they end with it. While the API server is away it goes on with
    what it knows and publishes later.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        directory: Path,
        address: str,
        environment: Mapping[str, str],
        token_file: Path | None = None,
    ) -> None:
        """`token_file` stands for the one that pods mount from a Secret."""
        self._kube = kube
        self._namespace = namespace
        self._directory = directory
        self._address = address
        self._environment = dict(environment)
        self._token_file = token_file
        self._http = httpx.Client(timeout=_PROBE_SECONDS, trust_env=False)
        self._pods: list[Pod] = []
        self._deployments: dict[str, dict[str, Any]] = {}
        self._published: dict[str, dict[str, Any]] = {}
        self._statuses: dict[str, dict[str, int]] = {}
        self._held: set[str] = set()
        self._evicted: set[str] = set()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.set()
        self._thread.join()
        for pod in self._pods:
            pod.process.stop()
        self._http.close()

    def pods(self, slot: str | None = None) -> list[Pod]:
        return [pod for pod in list(self._pods) if slot in (None, pod.slot)]

    def ready_slots(self) -> set[str]:
        if self.failure is not None:
            raise AssertionError("the kubelet of this test has failed") from self.failure
        return {pod.slot for pod in self.pods() if pod.ready and not pod.terminating}

    def kill(self, slot: str) -> None:
        """As out of memory does: at once. The container is started again, unless the slot is held."""
        for pod in self.pods(slot):
            pod.process.stop()

    def evict(self, slot: str) -> None:
        """Its pod is told to end, and a successor starts at once."""
        self._evicted.add(slot)

    def hold(self, slot: str) -> None:
        """The slot's pods vanish and do not come back, as on a node that is gone."""
        self._held.add(slot)
        self.kill(slot)

    def let_go(self, slot: str) -> None:
        self._held.discard(slot)

    def _run(self) -> None:
        try:
            while not self._ends.wait(_PERIOD):
                self._look_up()
                self._start_and_end()
                for pod in self._pods:
                    pod.ready = self._is_ready(pod)
                self._publish()
        except BaseException as failure:
            self.failure = failure
            raise

    def _look_up(self) -> None:
        path = f"/apis/apps/v1/namespaces/{self._namespace}/deployments"
        try:
            found = self._kube.items(path, labelSelector=SLOT_LABEL)
        except (httpx.HTTPError, ApiError):  # it is away, or comes back
            return
        self._deployments = {d["metadata"]["labels"][SLOT_LABEL]: d for d in found}

    def _start_and_end(self) -> None:
        for pod in [pod for pod in self._pods if pod.slot in self._evicted and not pod.terminating]:
            self._evicted.discard(pod.slot)
            self._terminate(pod)
        for slot, deployment in self._deployments.items():
            if slot not in self._held:
                self._run_slot(slot, deployment)
        for pod in list(self._pods):
            if pod.slot in self._held:
                self._pods.remove(pod)
            elif pod.slot not in self._deployments and not pod.terminating:
                self._terminate(pod)
            elif pod.terminating and not pod.process.is_running:
                self._pods.remove(pod)
            elif not pod.process.is_running:
                pod.ready = False
                pod.process.start()
                pod.restarts += 1

    def _run_slot(self, slot: str, deployment: dict[str, Any]) -> None:
        """Make before break, as maxSurge 1 and maxUnavailable 0 ask."""
        revision = repr(deployment["spec"]["template"])
        present = [pod for pod in self.pods(slot) if not pod.terminating]
        current = [pod for pod in present if pod.revision == revision]
        if not current:
            self._pods.append(self._create(slot, deployment, revision))
        elif current[0].ready:
            for pod in present:
                if pod.revision != revision:
                    self._terminate(pod)

    def _create(self, slot: str, deployment: dict[str, Any], revision: str) -> Pod:
        template = deployment["spec"]["template"]["spec"]
        [container] = template["containers"]
        port, metrics_port = free_ports(2)
        folder = self._directory / f"{slot}-{port}"
        folder.mkdir()
        here = {
            "--host": self._address,
            "--port": str(port),
            "--metrics-port": str(metrics_port),
            "--cache-dir": str(folder / "cache"),
            "--token-file": str(self._token_file),
        }
        stated = zip(container["args"][::2], container["args"][1::2], strict=True)
        arguments = [part for name, value in stated for part in (name, here.get(name, value))]
        command = [sys.executable, "-m", "tenantry_predictor", *arguments]  # the image's entry point
        process = Process(command, folder / "log", **self._environment)
        process.start()
        pool = deployment["metadata"]["labels"][POOL_LABEL]
        return Pod(slot, pool, template["subdomain"], revision, self._address, port, process)

    def _terminate(self, pod: Pod) -> None:
        """Off the list first; what is under way is finished."""
        pod.terminating = True
        self._publish()
        pod.process.terminate()

    def _is_ready(self, pod: Pod) -> bool:
        if not pod.process.is_running:
            return False
        try:
            answer = self._http.get(f"{pod.url}/v2/health/ready")
        except httpx.TimeoutException:
            pod.late_probes += 1
            return pod.ready and pod.late_probes < _PROBES_TO_FAIL
        except httpx.HTTPError:
            return False
        pod.late_probes = 0
        return answer.is_success

    def _publish(self) -> None:
        collection = f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices"
        wanted = {m["metadata"]["name"]: m for m in (p.endpoint_slice(self._namespace) for p in self._pods)}
        try:
            for name, manifest in wanted.items():
                if self._published.get(name) != manifest:
                    self._kube.apply(f"{collection}/{name}", manifest)
                    self._published[name] = manifest
            for name in self._published.keys() - wanted.keys():
                self._delete(f"{collection}/{name}")
                del self._published[name]
            for slot, deployment in self._deployments.items():
                self._publish_status(slot, deployment)
        except (httpx.HTTPError, ApiError):
            return  # again in the next round

    def _delete(self, path: str) -> None:
        try:
            self._kube.delete(path)
        except ApiError as error:
            if error.status != 404:  # it was deleted by a request whose answer was lost
                raise

    def _publish_status(self, slot: str, deployment: dict[str, Any]) -> None:
        metadata = deployment["metadata"]
        pods = [pod for pod in self.pods(slot) if not pod.terminating]
        current = [pod for pod in pods if pod.revision == repr(deployment["spec"]["template"])]
        ready = sum(pod.ready for pod in pods)
        status = {
            "observedGeneration": metadata["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(current),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, 1 - ready),
        }
        uid = metadata["uid"]
        if self._statuses.get(uid) != status:
            path = f"/apis/apps/v1/namespaces/{self._namespace}/deployments/{metadata['name']}/status"
            self._kube.merge(path, {"status": status})
            self._statuses[uid] = status
