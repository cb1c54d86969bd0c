"""containerd for the node: its images stay from run to run, its containers never do."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

from cluster.errors import StartError
from cluster.namespaces import POD_RANGE, Namespaces
from cluster.pauseimage import PAUSE_IMAGE
from cluster.processes import Process
from cluster.requirements import network_plugins

# In the namespaces' own /run.
SOCKET = "/run/containerd/containerd.sock"
_KUBERNETES = "k8s.io"
# With this label an image tells which archive it came from; another image of its name loses it.
_MARK = "archive"
_SECONDS = 60.0
# Gigabytes, where others keep the disk busy.
_IMPORT_SECONDS = 300.0


class Containerd:
    """containerd in a process namespace of its own: when it ends, every container ends with it."""

    def __init__(self, namespaces: Namespaces, store: Path, directory: Path) -> None:
        self._namespaces = namespaces
        config = directory / "containerd.toml"
        config.write_text(_config(store, directory))
        separate = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=slave"]
        # The shell stays first in there and collects the shims, which detach from containerd.
        run = ["sh", "-c", 'containerd --config="$0"; exit $?', str(config)]
        self._process = Process(separate + run, directory / "containerd.log", namespaces.place.enter)

    def start(self) -> None:
        """Starts it; wait_until_ready before anything is asked of it."""
        self._process.start()

    def wait_until_ready(self) -> None:
        """Returns once it answers and has forgotten the containers of an earlier run."""
        self._process.wait_until(self._answers, _SECONDS)
        self._forget_replaced_images()
        if self._forget_containers():
            # It keeps in mind what it found when it started.
            self._process.stop()
            self._process.start()
            self._process.wait_until(self._answers, _SECONDS)

    def stop(self) -> None:
        """Ends it and every container at once."""
        self._process.stop()

    def load(self, archive: Path) -> None:
        """Takes in the images of a docker-archive, unless it has them from an earlier run."""
        names, digest = _describe(archive)
        if len(self._find(names, f"labels.{_MARK}=={digest}")) == len(names):
            return
        self._ctr("images", "import", str(archive), seconds=_IMPORT_SECONDS)
        for image in self._find(names):
            self._ctr("images", "label", image, f"{_MARK}={digest}")

    def tag(self, image: str, other: str) -> None:
        """Gives an image another name beside its own; both as Kubernetes writes them."""
        self._ctr("images", "tag", "--force", f"docker.io/{image}", f"docker.io/{other}")

    def _find(self, names: list[str], *filters: str) -> list[str]:
        """The images that go by these names; containerd puts in front what a name leaves out."""
        images = self._ctr("images", "list", "--quiet", *filters).split()
        return [image for image in images if any(f"/{image}".endswith(f"/{name}") for name in names)]

    def _forget_containers(self) -> bool:
        """Whether there were any."""
        containers = self._ctr("containers", "list", "--quiet").split()
        if containers:
            self._ctr("containers", "remove", *containers)
        return bool(containers)

    def _forget_replaced_images(self) -> None:
        """Those that lost their name to another; known by their digest, they would keep their files."""
        images = [line.split()[:3] for line in self._ctr("images", "list").splitlines()[1:]]
        named = {digest for name, _, digest in images if not name.startswith("sha256:")}
        replaced = [name for name, _, digest in images if digest not in named]
        if replaced:
            self._ctr("images", "remove", *replaced)

    def _answers(self) -> bool:
        try:
            self._ctr("version")
        except StartError:
            return False
        return True

    def _ctr(self, *arguments: str, seconds: float = _SECONDS) -> str:
        where = (f"--address={SOCKET}", f"--namespace={_KUBERNETES}")
        return self._namespaces.run("ctr", *where, *arguments, seconds=seconds)


def _describe(archive: Path) -> tuple[list[str], str]:
    """The images' names, and a digest of all, without reading layers: configurations hold their digests."""
    with tarfile.open(archive) as tar:
        texts = {
            member.name: file.read()
            for member in tar
            if member.name.endswith(".json") and (file := tar.extractfile(member)) is not None
        }
    names = [name for image in json.loads(texts["manifest.json"]) for name in image["RepoTags"]]
    return names, hashlib.sha256(b"".join(texts[name] for name in sorted(texts))).hexdigest()


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
