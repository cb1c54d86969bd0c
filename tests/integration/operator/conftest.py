"""An API server of these tests' own, since an operator acts on everything in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.controlplane import ControlPlane
from integration.kube import OWN, Kube
from integration.waiting import wait_for
from tenantry_core.crds import crd_files


@pytest.fixture(scope="package")
def plane() -> Iterator[ControlPlane]:
    """With the CustomResourceDefinitions installed."""
    with ControlPlane() as made:
        for path in crd_files():
            made.kubectl("apply", "-f", str(path))
        made.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield made


@pytest.fixture(scope="package")
def kube(plane: ControlPlane) -> Iterator[Kube]:
    client = Kube(plane.kubeconfig)
    # Established is a little earlier than served.
    wait_for(lambda: len(client.get(OWN)["resources"]) >= len(crd_files()), 10, "all kinds are served")
    yield client
    client.close()
