"""An API server of these tests' own, whose namespace lets in what Pod Security calls restricted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.controlplane import ControlPlane
from integration.chart.release import NAMESPACE, Release


@pytest.fixture(scope="package")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as made:
        made.kubectl("create", "namespace", NAMESPACE)
        made.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        yield made


@pytest.fixture(scope="package")
def release(plane: ControlPlane) -> Release:
    return Release(plane)
