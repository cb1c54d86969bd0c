"""Network and mount namespaces for a node: what is made in them ends with the process that holds them.

The node gets interfaces, routes, packet filters, mounts and a /run of its own. The kernel takes all of
that away once the last process in there has ended, however it ended, so nothing has to be undone. One
pair of interfaces leads in, with a route to pods and Services from this machine; nothing leads further,
so pods reach each other, the node and this machine's end of the pair, and nothing else.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

from cluster.commands import SERVICE_RANGE
from cluster.errors import StartError
from cluster.place import Place
from cluster.processes import Process
from cluster.scope import Scope

HOST_ADDRESS = "172.31.255.2"
NODE_ADDRESS = "172.31.255.1"
POD_RANGE = "10.244.0.0/24"
_HOST_INTERFACE = "tenantry0"
_NODE_INTERFACE = "eth0"
_PREFIX = "30"
_SECONDS = 60.0
# What the kubelet would set for the whole machine. It leaves alone what is so already, thus it is shown
# files that say so, and the machine stays as it is.
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
# Tried in there, where it does no harm.
_KERNEL_FEATURES = {
    "virtual network interfaces (veth)": "ip link add probe type veth && ip link delete probe",
    "packet filters (nf_tables)": "nft add table ip probe && nft delete table ip probe",
    "layered file systems (overlay)": "mount -t overlay probe -o lowerdir=/usr:/etc /run && umount /run",
}


class Namespaces(Scope):
    """A place of its own for a node, entered with `place.enter`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._holder = Process(
            ["unshare", "--net", "--mount", "sleep", "infinity"], directory / "namespaces.log"
        )

    def _enter(self, stack: ExitStack) -> None:
        _remove_pair()
        stack.callback(_remove_pair)
        stack.callback(self._holder.stop)
        self._holder.start()
        self._holder.wait_until(self._is_separate, _SECONDS)
        target = f"--target={self._holder.pid}"
        self.place = Place(NODE_ADDRESS, ("nsenter", target, "--net", "--mount", "--"))
        self._check_kernel()
        self._connect()
        self._prepare_mounts()

    def run(self, *command: str | Path, seconds: float = _SECONDS) -> str:
        """Runs a command in there to its end and gives its output; StartError holds its complaint."""
        return _run([*self.place.enter, *map(str, command)], seconds)

    def _is_separate(self) -> bool:
        """Whether `unshare` has done its work and become the command it was given."""
        return Path(f"/proc/{self._holder.pid}/comm").read_text().strip() == "sleep"

    def _check_kernel(self) -> None:
        for feature, attempt in _KERNEL_FEATURES.items():
            try:
                self.run("sh", "-c", attempt)
            except StartError as error:
                raise StartError(f"a real node needs a kernel with {feature}: {error}") from error

    def _connect(self) -> None:
        """The pair of interfaces, their addresses, and the routes to pods and Services."""
        pair = ["type", "veth", "peer", "name", _NODE_INTERFACE, "netns", str(self._holder.pid)]
        _run(["ip", "link", "add", _HOST_INTERFACE, *pair])
        _run(["ip", "address", "add", f"{HOST_ADDRESS}/{_PREFIX}", "dev", _HOST_INTERFACE])
        _run(["ip", "link", "set", _HOST_INTERFACE, "up"])
        for target in (POD_RANGE, SERVICE_RANGE):
            _run(["ip", "route", "add", target, "via", NODE_ADDRESS, "dev", _HOST_INTERFACE])
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{NODE_ADDRESS}/{_PREFIX}", "dev", _NODE_INTERFACE)
        self.run("ip", "link", "set", _NODE_INTERFACE, "up")
        # Strays of the Service range end here instead of going back and forth.
        self.run("ip", "route", "add", "unreachable", SERVICE_RANGE)
        self.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")

    def _prepare_mounts(self) -> None:
        """Mounts made here reach the containers' namespace; sockets and locks in /run stay here."""
        self.run("mount", "--make-rshared", "/")
        self.run("mount", "-t", "tmpfs", "tmpfs", "/run")
        for setting, value in _KERNEL_SETTINGS.items():
            shown = self._directory / setting.replace("/", ".")
            shown.write_text(f"{value}\n")
            self.run("mount", "--bind", shown, f"/proc/sys/{setting}")


def _remove_pair() -> None:
    """The kernel removes it too, some time after the namespaces have ended; it may come first."""
    command = ["ip", "link", "delete", _HOST_INTERFACE]
    subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)


def _run(command: list[str], seconds: float = _SECONDS) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise StartError(f"{' '.join(command)}: not done after {seconds:.0f} s") from error
    if answer.returncode != 0:
        raise StartError(f"{' '.join(command)}: {answer.stderr.strip()}")
    return answer.stdout
