"""The control groups below which the kubelet puts its pods, apart from the machine's own."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cluster.errors import StartError

_SECONDS = 20.0
_MOUNTS = Path("/proc/self/mounts")
_WEIGHTS = {"cpu.shares": 16 * 1024, "cpu.weight": 16 * 100}
"""Of CPU time, in the two versions. All pods together would else weigh as much as one process beside them."""


def make(name: str) -> None:
    """Makes the group in every hierarchy, with all controllers that the machine has."""
    for hierarchy in _hierarchies():
        try:
            (hierarchy / name).mkdir(exist_ok=True)
            _pass_on_controllers(hierarchy)
            _weigh(hierarchy / name)
        except OSError as error:
            raise StartError(f"a real node needs control groups of its own: {error}") from error


def remove(name: str) -> None:
    """Removes the group and all below it, once the processes that were killed in there are gone."""
    deadline = time.monotonic() + _SECONDS
    for hierarchy in _hierarchies():
        while (group := hierarchy / name).exists():
            try:
                for directory, _, _ in os.walk(group, topdown=False):
                    os.rmdir(directory)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise StartError(f"{group} cannot be removed, a process is in it: {error}") from error
                time.sleep(0.02)


def _pass_on_controllers(hierarchy: Path) -> None:
    """Version 2 gives a group only the controllers that the one above it is told to pass on."""
    controllers = hierarchy / "cgroup.controllers"
    if controllers.exists():
        passed_on = " ".join(f"+{controller}" for controller in controllers.read_text().split())
        (hierarchy / "cgroup.subtree_control").write_text(passed_on)


def _weigh(group: Path) -> None:
    for file, weight in _WEIGHTS.items():
        if (group / file).exists():
            (group / file).write_text(str(weight))


def _hierarchies() -> list[Path]:
    fields = (line.split() for line in _MOUNTS.read_text().splitlines())
    return [Path(target) for _, target, kind, *_ in fields if kind in {"cgroup", "cgroup2"}]
