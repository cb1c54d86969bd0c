"""Session fixtures for pytest; the top conftest.py takes them by `pytest_plugins = ["cluster.fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.controlplane import ControlPlane
from cluster.s3server import S3Server

_FAKE_NODES = 3


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """An API server that nothing acts on: for schemas, clients and what an operator writes.

    A test that stops the API server starts it again before it ends; everyone else shares it.
    """
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="session")
def control_plane_with_nodes() -> Iterator[ControlPlane]:
    """A second one with controllers and fake nodes: Deployments become ready pods with addresses."""
    with ControlPlane(fake_nodes=_FAKE_NODES) as plane:
        yield plane


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server without buckets. Each test makes its own bucket; who pauses it resumes it."""
    with S3Server() as server:
        yield server
