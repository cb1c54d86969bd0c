"""Tenantry's kinds in an API server, installed as people do it."""

from __future__ import annotations

from cluster.controlplane import ControlPlane
from cluster.errors import KubectlError
from integration.waiting import wait_for
from tenantry_core.crds import crd_directory, crd_files

_GROUP = "tenantry.dev"
_SECONDS = 120.0


def install(plane: ControlPlane) -> None:
    """Returns when all kinds are served, which is a little later than Established."""
    plane.kubectl("apply", "--server-side", "-f", str(crd_directory()))
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", f"--timeout={_SECONDS:.0f}s")
    wait_for(lambda: _served(plane) == len(crd_files()), _SECONDS, "all kinds are served")


def _served(plane: ControlPlane) -> int:
    """How many kinds can be listed. Discovery may tell of one before it can."""
    try:
        names = plane.kubectl(
            "api-resources", f"--api-group={_GROUP}", "--output=name", "--cached=false"
        ).split()
        for name in names:
            plane.kubectl("get", name, "--all-namespaces", "--output=name")
    except KubectlError:
        return 0
    return len(names)
