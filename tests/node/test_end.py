"""A node ends with the process that started it, and leaves this machine as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.pauseimage import PAUSE_IMAGE

UP = Path(__file__).parents[1] / "cluster" / "up.py"
SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
SECONDS = 90.0


@contextmanager
def node_with_a_pod() -> Iterator[subprocess.Popen[str]]:
    """A node that a person started, as `up.py` does, with a pod that runs."""
    with subprocess.Popen([sys.executable, UP, "--node"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            kubeconfig, path = (process.stdout.readline().strip().split("=")[1] for _ in range(2))
            kubectl = [f"{path.split(':')[0]}/kubectl", f"--kubeconfig={kubeconfig}"]
            pod = ["run", "alone", f"--image={PAUSE_IMAGE}", "--command", "--", "/pause", "serve", ":4711"]
            subprocess.run([*kubectl, *pod], check=True)
            wait = ["wait", "pod/alone", "--for=condition=Ready", "--timeout=100s"]
            subprocess.run([*kubectl, *wait], check=True)
            yield process
        finally:
            process.kill()


def processes_of_a_node() -> list[str]:
    """The command lines of containers, their shims, and of all that has the node's files in hand."""
    marks = ("serve\0:4711", "containerd-shim", "cluster/node/run")
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(process.read_text(errors="replace"))
        except OSError:  # it has just ended
            continue
    return [line for line in lines if any(mark in line for mark in marks)]


def state_of_the_machine() -> dict[str, object]:
    """What a node could have changed here."""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if "tenantry" in line]
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    return {
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "routes": routes,
        "mounts": mounts,
        "settings": {name: Path("/proc/sys", name).read_text() for name in SETTINGS},
        "filter": subprocess.run(["nft", "list", "ruleset"], capture_output=True, check=True).stdout,
    }


# The killed one comes first: the other one starts where it was left.
@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_a_node(ended_by: signal.Signals) -> None:
    before = state_of_the_machine()
    with node_with_a_pod() as process:
        assert processes_of_a_node()
        assert state_of_the_machine()["settings"] == before["settings"]
        process.send_signal(ended_by)
        process.wait(timeout=SECONDS)
    deadline = time.monotonic() + SECONDS
    while processes_of_a_node() or state_of_the_machine() != before:
        assert time.monotonic() < deadline, (processes_of_a_node(), state_of_the_machine())
        time.sleep(0.1)
