"""One router over three upstreams, shared by the tests that break nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
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
from tenantry_core.slices import Reference, Target, Traffic, Unavailable, Users
from tenantry_core.snapshot import SnapshotFolder

SLOTS = ("default-0", "default-1", "default-2")

ENTRIES = (
    entry("models.acme", SLOTS),
    entry("models.shop", SLOTS[:1]),
    entry("models.shop-vip", SLOTS[1:2], tenant="shop", users=Users(ids=("7",), prefixes=("vip-",))),
    entry("models.first", SLOTS, tenant="two"),
    entry("models.second", SLOTS, tenant="two"),
    entry("blue.scorer", SLOTS, tenant="blue"),
    entry("green.scorer", SLOTS, tenant="green"),
    entry("models.personal", SLOTS, uri="s3://models/personal/{user_id}.onnx"),
    entry("models.hasty", SLOTS[:1], traffic=Traffic(timeout_milliseconds=200)),
    entry("models.new", (), targets=(), unavailable=Unavailable("FirstLoad", "its artifact is being read.")),
    entry(
        "models.canary",
        (),
        targets=(
            Target(Reference("s3://models/1.onnx", "onnx", "1" * 64), SLOTS[:1], 75),
            Target(Reference("s3://models/2.onnx", "onnx", "2" * 64), SLOTS[1:2], 25),
        ),
    ),
    entry("models.stranded", ("gone-0",), pool="gone"),
)


@dataclass
class Service:
    """What a test talks to."""

    router: ServerProcess
    upstreams: dict[str, ServerProcess]
    snapshot: SnapshotFolder

    @property
    def url(self) -> str:
        return self.router.url

    def counts(self, slot: str) -> dict[str, int]:
        counts: dict[str, int] = http.get(f"{self.upstreams[slot].url}/counts").json()
        return counts


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("router")
    token = folder / "token"
    token.write_text("sesame\n")
    with ExitStack() as stack:
        upstreams = {slot: stack.enter_context(start_upstream(slot, folder)) for slot in SLOTS}
        addresses = [address(slot, upstream.port) for slot, upstream in upstreams.items()]
        snapshot = write_snapshot(folder / "snapshot", ENTRIES, addresses)
        router = stack.enter_context(start_router(snapshot.path, "--token-file", str(token)))
        yield Service(router, upstreams, snapshot)


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=20.0) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For a test with processes of its own."""
    return tmp_path
