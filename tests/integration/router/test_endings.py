"""Routers and predictors that are told to end while requests come: nobody notices."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from integration.router.processes import (
    ServerProcess,
    address,
    entry,
    http,
    start_router,
    start_upstream,
    write_snapshot,
)
from integration.router.service import Service
from integration.waiting import wait_for
from load.background import Background
from load.target import Target, post
from tenantry_core.snapshot import SnapshotFolder

SLOTS = ("default-0", "default-1")
REQUESTS = [post(f"/predict/acme:{user}", b"[[1]]") for user in range(20)]
DRAIN = ("--drain", "2s")


@pytest.fixture
def snapshot(folder: Path) -> Iterator[SnapshotFolder]:
    """Of a model on two stand-ins."""
    with ExitStack() as stack:
        upstreams = [stack.enter_context(start_upstream(slot, folder)) for slot in SLOTS]
        addresses = [address(slot, upstream.port) for slot, upstream in zip(SLOTS, upstreams, strict=True)]
        yield write_snapshot(folder / "snapshot", [entry("models.acme", SLOTS)], addresses)


def is_ready(router: ServerProcess) -> bool:
    try:
        return http.get(f"{router.url}/v2/health/ready").is_success
    except httpx.TransportError:  # it may have ended already
        return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_routers_are_replaced_without_a_failed_request(snapshot: SnapshotFolder, workers: str) -> None:
    flags = (*DRAIN, "--workers", workers)
    with (
        start_router(snapshot.path, *flags) as old,
        start_router(snapshot.path, *flags) as new,
        Service(old.port, new.port) as service,
        Background(Target("127.0.0.1", service.port), REQUESTS, rate=100) as load,
    ):
        go_on(load)
        old.signal(signal.SIGTERM)
        wait_for(lambda: not is_ready(old), 60, "it is no longer ready")
        go_on(load)  # the Service still names both
        service.backends = (new.port,)
        assert old.wait() == 0
        go_on(load)
    assert load.broken == []
    assert {answer.status for answer in load.answers} == {200}


def go_on(load: Background) -> None:
    seen = len(load.answers)
    wait_for(lambda: len(load.answers) > seen + 100, 60, "requests go on")


def test_clients_that_keep_their_connections_are_sent_elsewhere(snapshot: SnapshotFolder) -> None:
    with start_router(snapshot.path, *DRAIN) as router, httpx.Client(base_url=router.url) as client:
        for path in ("/predict/acme:1", "/v2/models/acme/ready"):
            assert "connection" not in ask(client, path).headers
        router.signal(signal.SIGTERM)
        wait_for(lambda: not is_ready(router), 60, "it is no longer ready")
        for path in ("/predict/acme:1", "/v2/models/acme/ready"):
            answer = ask(client, path)
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert router.wait() == 0


def test_without_requests_it_ends_early(snapshot: SnapshotFolder) -> None:
    """Health checks are none."""
    with start_router(snapshot.path, *DRAIN) as router:
        router.signal(signal.SIGTERM)
        wait_for(lambda: not is_ready(router), 60, "it is no longer ready")
        wait_for(lambda: not is_live(router), 60, "it ends, though somebody asks after its health")
        assert router.wait() == 0


def ask(client: httpx.Client, path: str) -> httpx.Response:
    return client.post(path, json=[[1]]) if path.startswith("/predict") else client.get(path)


def is_live(router: ServerProcess) -> bool:
    try:
        return http.get(f"{router.url}/v2/health/live").is_success
    except httpx.TransportError:
        return False
