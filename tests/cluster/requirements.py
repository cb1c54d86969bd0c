"""What a machine must have to be a node, each lack told in a sentence before anything is started."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from cluster.errors import StartError

# Each command, and the Debian package that has it.
_COMMANDS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "openssl": "openssl",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
_PLUGINS_PACKAGE = "containernetworking-plugins"
# Debian's folder, and the one that the plugins' own releases go to.
_PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


def check_machine() -> None:
    """Raises StartError unless a node can run here."""
    if sys.platform != "linux":
        raise StartError("a real node needs Linux; elsewhere use the control plane with fake nodes")
    if os.geteuid() != 0:
        raise StartError("a real node needs root: it makes network interfaces, mounts and control groups")
    missing = {package for command, package in _COMMANDS.items() if shutil.which(command) is None}
    if network_plugins() is None:
        missing.add(_PLUGINS_PACKAGE)
    if missing:
        raise StartError(
            "a real node needs packages that are not here; on Debian or Ubuntu: "
            f"apt-get install --no-install-recommends {' '.join(sorted(missing))}"
        )


def network_plugins() -> Path | None:
    """The folder with the programs that connect a pod to the network; None where there is none."""
    return next((folder for folder in _PLUGIN_FOLDERS if (folder / "ptp").exists()), None)
