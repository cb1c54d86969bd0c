"""A model from `kubectl apply` to its answer, its updates, and its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster.controlplane import ControlPlane
from cluster.s3server import S3Server
from integration.harness import Installation


@pytest.fixture(scope="module")
def installation(plane: ControlPlane, s3_server: S3Server) -> Iterator[Installation]:
    with Installation(plane, s3_server) as made:
        yield made


def test_a_model_serves_after_it_was_applied(installation: Installation) -> None:
    installation.apply("first", installation.publish("first", 2, 1))
    installation.wait_answers("first", 3)
    assert installation.wait_ready("first") == "Loaded"
