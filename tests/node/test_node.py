"""What end-to-end tests rely on: real containers behind real Services, that outlast what manages them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from cluster import programs
from cluster.binaries import require
from cluster.errors import KubectlError, StartError
from cluster.node import Node
from cluster.pauseimage import PAUSE_IMAGE, write_program_image

WEB = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - name: web
          image: {PAUSE_IMAGE}
          args: [serve, ":8080"]
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe: {{httpGet: {{port: http}}, periodSeconds: 1}}
          securityContext:
            runAsNonRoot: true
            readOnlyRootFilesystem: true
            allowPrivilegeEscalation: false
            capabilities: {{drop: [ALL]}}
            seccompProfile: {{type: RuntimeDefault}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{type: NodePort, selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: http}}]}}
"""
# Documentation addresses: nobody has them.
NOWHERE = "http://198.51.100.1"
SECONDS = 90.0


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node with a Service of two pods."""
    with Node() as node:
        node.kubectl("apply", "-f", "-", stdin=WEB)
        node.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
        wait_for(lambda: names_behind(cluster_address(node)) == web_pods(node))
        yield node


def read(url: str) -> str:
    """What the URL answers this machine."""
    with build_opener(ProxyHandler({})).open(url, timeout=5) as answer:
        content: bytes = answer.read()
    return content.decode().strip()


def names_behind(url: str) -> set[str]:
    """The pods that answer there; kube-proxy picks one at random for each connection."""
    try:
        return {read(url) for _ in range(20)}
    except (OSError, HTTPException):
        return set()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def get_from_pod(node: Node, url: str) -> str:
    """What the URL answers a pod."""
    return node.kubectl("exec", "deployment/web", "--", "/pause", "get", url).strip()


def refusal_for_pod(node: Node, url: str) -> str:
    """Why the pod cannot read the URL."""
    with pytest.raises(KubectlError) as refusal:
        get_from_pod(node, url)
    return str(refusal.value)


def web_pods(node: Node) -> set[str]:
    return set(re.findall(r"pod/(\S+)", node.kubectl("get", "pods", "--selector=app=web", "--output=name")))


def cluster_address(node: Node) -> str:
    return f"http://{field_of_service(node, '{.spec.clusterIP}')}"


def node_address(node: Node) -> str:
    return f"http://{node.address}:{field_of_service(node, '{.spec.ports[0].nodePort}')}"


def field_of_service(node: Node, path: str) -> str:
    return node.kubectl("get", "service", "web", f"--output=jsonpath={path}")


def started_containers(node: Node) -> set[str]:
    """The ids of the containers that run; a restart gives another."""
    path = "{.items[*].status.containerStatuses[*].containerID}"
    return set(node.kubectl("get", "pods", "--selector=app=web", f"--output=jsonpath={path}").split())


def test_service_leads_to_its_pods_from_this_machine(node: Node) -> None:
    for url in (cluster_address(node), node_address(node)):
        assert names_behind(url) == web_pods(node)


@pytest.mark.parametrize("name", ["web", "web.default", "web.default.svc.cluster.local"])
def test_pods_find_services_by_name(node: Node, name: str) -> None:
    assert get_from_pod(node, f"http://{name}") in web_pods(node)


def test_pods_reach_this_machine_and_nothing_beyond(node: Node) -> None:
    with ThreadingHTTPServer((node.host_address, 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert get_from_pod(node, f"http://{node.host_address}:{server.server_port}") == "hello"
        server.shutdown()
    # The node's own answer; the kernel of the pod may miss one and then only waits.
    wait_for(lambda: "unreachable" in refusal_for_pod(node, NOWHERE))


class Hello(BaseHTTPRequestHandler):
    """Greets."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_image_that_was_not_loaded_is_missing_at_once(node: Node) -> None:
    node.kubectl("run", "stranger", "--image=tenantry/stranger:1")
    reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    node.kubectl("wait", "pod/stranger", f"--for={reason}=ErrImagePull", "--timeout=100s")
    node.kubectl("delete", "pod", "stranger", "--now")


def test_loaded_image_takes_the_place_of_one_with_its_name(node: Node, tmp_path: Path) -> None:
    name = "tenantry/sample:1"
    for program in (programs.PAUSE, programs.COREDNS):
        node.load_image(write_program_image(require(program), name, tmp_path / "sample.tar"))
    node.kubectl("run", "sample", f"--image={name}", "--restart=Never", "--", "-version")
    node.kubectl("wait", "pod/sample", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=100s")
    assert "CoreDNS" in node.kubectl("logs", "sample")


def test_service_answers_while_the_api_server_is_away(node: Node) -> None:
    url, pods, containers = cluster_address(node), web_pods(node), started_containers(node)
    node.stop_api_server()
    with pytest.raises(KubectlError, match="refused"):
        node.kubectl("get", "pods")
    assert names_behind(url) == pods
    node.start_api_server()
    assert started_containers(node) == containers


def test_pods_run_on_while_the_kubelet_is_away(node: Node) -> None:
    url, pods, containers = cluster_address(node), web_pods(node), started_containers(node)
    node.stop_kubelet()
    assert names_behind(url) == pods
    node.start_kubelet()
    node.kubectl("scale", "deployment/web", "--replicas=3")
    node.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
    assert started_containers(node) > containers


@pytest.mark.usefixtures("node")
def test_second_node_is_refused_in_words() -> None:
    with pytest.raises(StartError, match="another node runs on this machine"), Node():
        pass
