"""An API server of these tests' own, since an operator acts on everything in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.controlplane import ControlPlane
from integration.definitions import install
from integration.kube import Kube


@pytest.fixture(scope="package")
def plane() -> Iterator[ControlPlane]:
    """With the CustomResourceDefinitions installed."""
    with ControlPlane() as made:
        install(made)
        yield made


@pytest.fixture(scope="package")
def kube(plane: ControlPlane) -> Iterator[Kube]:
    client = Kube(plane.kubeconfig)
    yield client
    client.close()
