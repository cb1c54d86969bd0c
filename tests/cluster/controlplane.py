"""A Kubernetes control plane on the loopback address: real API server, no containers, no root."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from cluster import commands, programs
from cluster.api import ApiClient
from cluster.binaries import require
from cluster.errors import KubectlError
from cluster.fakenodes import count_ready, node_manifest
from cluster.kubeconfig import User, write_kubeconfig
from cluster.place import HERE
from cluster.ports import free_ports, is_listening
from cluster.processes import Process
from cluster.scope import Scope

_START_SECONDS = 120.0
_KUBECTL_SECONDS = 120.0
_ADMIN = "admin"
_CONTROLLER_MANAGER = "system:kube-controller-manager"
_SCHEDULER = "system:kube-scheduler"
_NO_NODES = '{"items": []}'


class ControlPlane(Scope):
    """etcd and kube-apiserver, and on request the controllers, and nodes that only pretend.

    Without controllers objects are stored, validated and watched, and nothing acts on them. With
    controllers a Deployment makes pods, which stay Pending. With fake nodes they turn Ready and fill
    EndpointSlices, though no container runs. Fake nodes imply controllers.

    With `stored`, which `keep` of another made, it begins with all objects of that one.
    """

    def __init__(self, *, controllers: bool = False, fake_nodes: int = 0, stored: Path | None = None) -> None:
        self._controllers = controllers or fake_nodes > 0
        self._stored = stored
        self._fake_nodes = fake_nodes
        self._place = HERE
        self._controller_manager: Process | None = None
        self._users: tuple[User, ...] = ()

    def _enter(self, stack: ExitStack) -> None:
        self.directory = self._make_directory(stack)
        self._prepare(stack)
        self._start(stack)

    def start_api_server(self) -> None:
        """Starts the API server on its port and data, and waits until it is ready."""
        self.api_server.start()
        self.api_server.wait_until(lambda: self._api.read("/readyz") is not None, _START_SECONDS)

    def stop_api_server(self) -> None:
        """Takes the API server away, as a crash does. What it stored stays."""
        self.api_server.stop()

    def keep(self, directory: Path) -> None:
        """Ends the API server and etcd, and keeps there what they stored."""
        self.api_server.stop()
        self.etcd.stop()
        shutil.copytree(self.directory / "etcd", directory)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl as the administrator and gives its output; raises KubectlError when it refuses."""
        command = [self._kubectl, f"--kubeconfig={self.kubeconfig}", *arguments]
        answer = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=_KUBECTL_SECONDS, check=False
        )
        if answer.returncode != 0:
            raise KubectlError(answer.stderr.strip())
        return answer.stdout

    def kubeconfig_for(self, service_account: str, namespace: str = "default") -> Path:
        """A kubeconfig that acts as the service account, with no more rights than its roles give."""
        token = self.kubectl("create", "token", service_account, f"--namespace={namespace}").strip()
        return self._write_kubeconfig(f"{namespace}-{service_account}", token)

    def _make_directory(self, stack: ExitStack) -> Path:
        temporary = tempfile.TemporaryDirectory(prefix="tenantry-cluster-", ignore_cleanup_errors=True)
        return Path(stack.enter_context(temporary))

    def _prepare(self, stack: ExitStack) -> None:
        """Ports, users and files; nothing of Kubernetes runs yet."""
        self._kubectl = str(require(programs.KUBECTL))
        self._port, self._etcd_port, self._etcd_peer_port = free_ports(3)
        self.url = f"https://{self._place.address}:{self._port}"
        self._certificates = self.directory / "certificates"
        # The file holds the server's certificate and the authority that signed it.
        self.certificate_authority = self._certificates / "apiserver.crt"
        self._tokens = self.directory / "tokens.csv"
        users = [User(_ADMIN, ("system:masters",)), User(_CONTROLLER_MANAGER), User(_SCHEDULER), *self._users]
        self._tokens.touch(mode=0o600)
        self._tokens.write_text("".join(user.line for user in users))
        self._kubeconfigs = {user.name: self._write_kubeconfig(user.name, user.token) for user in users}
        self.kubeconfig = self._kubeconfigs[_ADMIN]
        self._api = ApiClient(self.url, users[0].token, self.certificate_authority)

    def _start(self, stack: ExitStack) -> None:
        address = self._place.address
        if self._stored is not None:
            shutil.copytree(self._stored, self.directory / "etcd")
        etcd = commands.etcd(self.directory / "etcd", address, self._etcd_port, self._etcd_peer_port)
        self.etcd = self._launch(stack, etcd)
        self.etcd.wait_until(lambda: is_listening(self._etcd_port, address), _START_SECONDS)
        command = commands.kube_apiserver(
            self._certificates, self._tokens, address, self._port, self._etcd_port
        )
        self.api_server = self._process([*command, *self._api_server_flags()])
        stack.callback(self.api_server.stop)
        self.start_api_server()
        if self._controllers:
            self._start_controllers(stack)
        if self._fake_nodes:
            self._start_fake_nodes(stack)

    def _api_server_flags(self) -> list[str]:
        return commands.without_pods()

    def _start_controllers(self, stack: ExitStack) -> None:
        command = commands.kube_controller_manager(self._kubeconfigs[_CONTROLLER_MANAGER], self._certificates)
        self._controller_manager = manager = self._launch(stack, command)
        self._launch(stack, commands.kube_scheduler(self._kubeconfigs[_SCHEDULER]))
        # Pods are refused until their namespace has this account.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        manager.wait_until(lambda: self._api.read(account) is not None, _START_SECONDS)

    def _start_fake_nodes(self, stack: ExitStack) -> None:
        kwok = self._launch(stack, commands.kwok(self.kubeconfig))
        for name in (f"node-{number}" for number in range(self._fake_nodes)):
            if self._api.read(f"/api/v1/nodes/{name}") is None:
                self._api.create("/api/v1/nodes", node_manifest(name))
        self._wait_for_nodes(kwok, self._fake_nodes)

    def _wait_for_nodes(self, kubelet: Process, count: int) -> None:
        """Returns once so many nodes take pods; the process is the one that makes them ready."""
        kubelet.wait_until(
            lambda: count_ready(self._api.read("/api/v1/nodes") or _NO_NODES) == count, _START_SECONDS
        )

    def _launch(self, stack: ExitStack, command: list[str]) -> Process:
        process = self._process(command)
        stack.callback(process.stop)
        process.start()
        return process

    def _process(self, command: list[str]) -> Process:
        return Process(command, self.directory / f"{Path(command[0]).name}.log", self._place.enter)

    def _write_kubeconfig(self, name: str, token: str) -> Path:
        path = self.directory / f"{name.replace(':', '-')}.kubeconfig"
        return write_kubeconfig(path, self.url, self.certificate_authority, token)
