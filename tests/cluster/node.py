"""A cluster of one real node: containers run, Services and names lead to them. Needs root and Linux."""

from __future__ import annotations

import fcntl
import shutil
from contextlib import ExitStack
from pathlib import Path

from cluster import cgroups, nodecommands, programs
from cluster.binaries import require
from cluster.containerd import Containerd
from cluster.controlplane import ControlPlane
from cluster.errors import StartError
from cluster.kubeconfig import User
from cluster.namespaces import HOST_ADDRESS, Namespaces
from cluster.nodecommands import CGROUP, DNS_PORT, KUBELET_PORT
from cluster.pauseimage import write_pause_image
from cluster.ports import is_listening
from cluster.requirements import check_machine
from cluster.selfsigned import client_certificate

_START_SECONDS = 120.0
# Interfaces and control groups are the whole machine's, whichever cache a user has.
_LOCK = Path("/run/tenantry-node.lock")
_NAME = "tenantry-node"
_KUBELET = f"system:node:{_NAME}"
_PROXY = "system:kube-proxy"
_DNS = "system:coredns"
# Beside what the roles of Kubernetes give. The first: a kubelet is refused a pod's Secret for some seconds
# when it asks before the API server's own authorizer has seen that the pod is on its node.
_GRANTS = ((("Group", "system:nodes"), "system:node"), (("User", _DNS), "view"))


class Node(ControlPlane):
    """A control plane with one real node: containerd, kubelet, kube-proxy and DNS.

    It lives in namespaces of its own: nothing of it can be reached from outside this machine, nothing in
    it reaches further than this machine, and all of it ends with the process that started it, even when
    that is killed. NetworkPolicy is accepted and not enforced. One node at a time on a machine.
    """

    def __init__(self) -> None:
        super().__init__(controllers=True)
        self._users = (User(_KUBELET, ("system:nodes",)), User(_PROXY), User(_DNS))
        self.name = _NAME

    @property
    def address(self) -> str:
        """The node's address, for NodePorts; reachable from this machine and from pods."""
        return self._place.address

    @property
    def host_address(self) -> str:
        """This machine's address as pods see it: what listens there can be reached by them."""
        return HOST_ADDRESS

    def load_image(self, archive: Path) -> None:
        """Takes in the images of a docker-archive. Use imagePullPolicy IfNotPresent: nothing is pulled."""
        self._containerd.load(archive)

    def stop_api_server(self) -> None:
        """Takes the API server away, as a crash does, and the controllers with it; what it stored stays.

        Controllers that outlived an outage would take the node for dead, as it was not heard of meanwhile,
        and its pods out of all Services. Elsewhere they lose their lease, and end, for just this reason.
        """
        super().stop_api_server()
        if self._controller_manager is not None:
            self._controller_manager.stop()

    def start_api_server(self) -> None:
        """Starts the API server on its port and data, and waits until it is ready."""
        super().start_api_server()
        if self._controller_manager is not None:
            self._controller_manager.start()

    def tag_image(self, image: str, other: str) -> None:
        """Gives a loaded image another name beside its own; both without a registry."""
        self._containerd.tag(image, other)

    def start_kubelet(self) -> None:
        """Starts the kubelet; containers that ran on meanwhile are taken over."""
        self.kubelet.start()
        self.kubelet.wait_until(lambda: is_listening(KUBELET_PORT, self.address), _START_SECONDS)

    def stop_kubelet(self) -> None:
        """Takes the kubelet away, as a crash does. Containers run on."""
        self.kubelet.stop()

    def _make_directory(self, stack: ExitStack) -> Path:
        """A known place, so that what a killed run left in it is found."""
        check_machine()
        _take_lock(stack)
        base = programs.cache_directory() / "node"
        base.mkdir(parents=True, exist_ok=True)
        directory = base / "run"
        _remove_state(directory)
        stack.callback(_remove_state, directory)
        directory.mkdir()
        self._images = base / "images"
        return directory

    def _prepare(self, stack: ExitStack) -> None:
        namespaces = stack.enter_context(Namespaces(self.directory))
        self._place = namespaces.place
        self._containerd = Containerd(namespaces, self._images, self.directory)
        self._certificate, self._key = client_certificate(self.directory, "kube-apiserver", "system:masters")
        super()._prepare(stack)

    def _start(self, stack: ExitStack) -> None:
        cgroups.make(CGROUP)
        self._containerd.start()  # beside the control plane
        stack.callback(self._containerd.stop)
        super()._start(stack)
        for subject, role in _GRANTS:
            self._grant(subject, role)
        self._containerd.wait_until_ready()
        self.load_image(write_pause_image(require(programs.PAUSE), self.directory / "pause.tar"))
        self._start_node(stack)

    def _start_node(self, stack: ExitStack) -> None:
        of = self._kubeconfigs
        self.kubelet = self._process(
            nodecommands.kubelet(self.directory, of[_KUBELET], self.name, self.address, self._certificate)
        )
        stack.callback(self.kubelet.stop)
        self.kubelet.start()
        self._launch(stack, nodecommands.kube_proxy(self.directory, of[_PROXY], self.name, self.address))
        dns = self._launch(stack, nodecommands.coredns(self.directory, of[_DNS], self.address))
        dns.wait_until(lambda: is_listening(DNS_PORT, self.address), _START_SECONDS)
        self._wait_for_nodes(self.kubelet, 1)

    def _api_server_flags(self) -> list[str]:
        return nodecommands.for_kubelets(self._certificate, self._key)

    def _grant(self, subject: tuple[str, str], role: str) -> None:
        kind, name = subject
        group = "rbac.authorization.k8s.io"
        binding = {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"node:{role}"},
            "subjects": [{"kind": kind, "name": name, "apiGroup": group}],
            "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": group},
        }
        self._api.create(f"/apis/{group}/v1/clusterrolebindings", binding)


def _remove_state(directory: Path) -> None:
    """What a run leaves on this machine, killed ones too; with its namespaces gone it is only folders."""
    cgroups.remove(CGROUP)
    shutil.rmtree(directory, ignore_errors=True)


def _take_lock(stack: ExitStack) -> None:
    file = stack.enter_context(_LOCK.open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartError("another node runs on this machine; only one can at a time") from None
