"""containerd for the node: its images stay from run to run, its containers never do."""

from __future__ import annotations

import json
from pathlib import Path

from cluster.errors import StartError
from cluster.namespaces import POD_RANGE, Namespaces
from cluster.pauseimage import PAUSE_IMAGE
from cluster.processes import Process
from cluster.requirements import network_plugins

# In the namespaces' own /run.
SOCKET = "/run/containerd/containerd.sock"
_KUBERNETES = "k8s.io"
_SECONDS = 180.0
"""A large image is imported in a minute where others keep the disk busy."""


class Containerd:
    """containerd in a process namespace of its own: when it ends, every container ends with it."""

    def __init__(self, namespaces: Namespaces, store: Path, directory: Path) -> None:
        self._namespaces = namespaces
        config = directory / "containerd.toml"
        config.write_text(_config(store, directory))
        separate = [
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount",
            "--propagation=slave",
            "--mount-proc",
        ]
        # The shell stays first in there and collects the shims, which detach from containerd.
        run = ["sh", "-c", 'containerd --config="$0"; exit $?', str(config)]
        self._process = Process(separate + run, directory / "containerd.log", namespaces.place.enter)

    def start(self) -> None:
        """Starts it; wait_until_ready before anything is asked of it."""
        self._process.start()

    def wait_until_ready(self) -> None:
        """Returns once it answers and has forgotten the containers of an earlier run."""
        self._process.wait_until(self._answers, _SECONDS)
        if self._forget_containers():
            # It keeps in mind what it found when it started.
            self._process.stop()
            self._process.start()
            self._process.wait_until(self._answers, _SECONDS)

    def stop(self) -> None:
        """Ends it and every container at once."""
        self._process.stop()

    def load(self, archive: Path) -> None:
        """Takes in the images of a docker-archive or OCI archive."""
        self._ctr("images", "import", str(archive))

    def _forget_containers(self) -> bool:
        """Whether there were any."""
        containers = self._ctr("containers", "list", "--quiet").split()
        if containers:
            self._ctr("containers", "remove", *containers)
        return bool(containers)

    def _answers(self) -> bool:
        try:
            self._ctr("version")
        except StartError:
            return False
        return True

    def _ctr(self, *arguments: str) -> str:
        address = (f"--address={SOCKET}", f"--namespace={_KUBERNETES}")
        return self._namespaces.run("ctr", *address, *arguments, seconds=_SECONDS)


def _config(store: Path, directory: Path) -> str:
    """Version 2 of the format, which containerd 1.6 reads as well as 2.x."""
    networks, registries = directory / "cni", directory / "registries"
    networks.mkdir()
    (networks / "10-pods.conflist").write_text(json.dumps(_pod_network(directory)))
    # An image that is not loaded is missing at once: no registry is asked.
    (registries / "_default").mkdir(parents=True)
    (registries / "_default" / "hosts.toml").write_text('server = "http://127.0.0.1:1"\n')
    return f"""
version = 2
root = "{store}"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Some machines do not let even root protect a process from the kernel's memory killer.
  restrict_oom_score_adj = true
  registry.config_path = "{registries}"
  cni = {{ bin_dir = "{network_plugins()}", conf_dir = "{networks}" }}
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  options = {{ SystemdCgroup = false }}
"""


def _pod_network(directory: Path) -> dict[str, object]:
    """A pair of interfaces for each pod; the node routes between them, so its packet filter sees all."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(directory / "addresses"),
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": addresses}]}
