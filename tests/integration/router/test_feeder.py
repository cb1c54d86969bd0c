"""The feeder against a real API server, which at times is away."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from cluster.controlplane import ControlPlane
from integration.definitions import install
from integration.router.processes import address, entry, http, start_router, start_upstream, wait_until
from tenantry_core.slices import Entry, SliceContent
from tenantry_core.snapshot import AddressBook, SnapshotFolder, SourceState

SOON = 60.0
"""Seconds; after an outage an attempt may wait for up to eight."""


class Namespace:
    """A namespace of the API server and what a release's operator would write into it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.name = f"router-{uuid.uuid4().hex[:8]}"
        self.plane = plane
        plane.kubectl("create", "namespace", self.name)

    def write_slice(self, name: str, *entries: Entry) -> None:
        self._apply(
            {
                "apiVersion": "tenantry.dev/v1alpha1",
                "kind": "PlacementSlice",
                "metadata": {"name": name},
                "entries": msgspec.to_builtins(list(entries)),
            }
        )

    def delete_slice(self, name: str) -> None:
        self.plane.kubectl("delete", "placementslice", name, "-n", self.name)

    def write_endpoints(self, slots: Sequence[str], host: str, port: int, *, labelled: bool = True) -> None:
        self._apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": "default" if labelled else "other",
                    "labels": {"tenantry.dev/pool": "default"} if labelled else {},
                },
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": port}],
                "endpoints": [
                    {"addresses": [host], "hostname": slot, "conditions": {"ready": True}} for slot in slots
                ],
            }
        )

    def _apply(self, manifest: dict[str, object]) -> None:
        self.plane.kubectl("apply", "-n", self.name, "-f", "-", stdin=json.dumps(manifest))


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    install(control_plane)
    return control_plane


@pytest.fixture
def namespace(plane: ControlPlane) -> Namespace:
    return Namespace(plane)


@pytest.fixture
def snapshot(tmp_path: Path) -> SnapshotFolder:
    return SnapshotFolder(tmp_path / "snapshot")


@contextmanager
def feeder(
    snapshot: SnapshotFolder, namespace: Namespace, kubeconfig: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The feeder alone, as a router starts it."""
    log = snapshot.path.with_name("feeder.log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tenantry_router", "--snapshot", str(snapshot.path)),
                *("--feed-namespace", namespace.name, "--feeder"),
            ],
            stdin=subprocess.PIPE,
            stderr=output,
            env=os.environ | {"KUBECONFIG": str(kubeconfig or namespace.plane.kubeconfig)},
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=SOON)


def is_connected(snapshot: SnapshotFolder) -> bool:
    state = snapshot.read_source()
    return state is not None and state.connected


def await_slices(snapshot: SnapshotFolder, **expected: Sequence[Entry]) -> None:
    """Wait until the folder holds these slices, by name with `_` for `-`, and no others."""
    contents = {name.replace("_", "-"): SliceContent(tuple(entries)) for name, entries in expected.items()}

    def is_so() -> bool:
        return {name: snapshot.read_slice(name) for name in snapshot.slice_names()} == contents

    wait_until(is_so, SOON, f"the folder holds {list(contents)}")


def test_slices_and_addresses_are_mirrored_as_they_come_change_and_go(
    namespace: Namespace, snapshot: SnapshotFolder
) -> None:
    acme, shop = entry("models.acme", ["default-0"]), entry("models.shop", ["default-1"])
    namespace.write_slice("placement-0-0", acme)
    with feeder(snapshot, namespace):
        await_slices(snapshot, placement_0_0=[acme])
        namespace.write_slice("placement-1-0", acme, shop)
        await_slices(snapshot, placement_0_0=[acme], placement_1_0=[acme, shop])
        namespace.write_slice("placement-1-0", shop)
        namespace.delete_slice("placement-0-0")
        await_slices(snapshot, placement_1_0=[shop])
        namespace.write_endpoints(["other-0"], "10.1.2.3", 9000, labelled=False)
        namespace.write_endpoints(["default-0", "default-1"], "10.1.2.3", 9000)
        wait_until(lambda: len(snapshot.read_addresses().slots) == 2, SOON, "the slots have addresses")
        assert [(s.slot, s.pool, s.host, s.ports, s.ready) for s in snapshot.read_addresses().slots] == [
            (slot, "default", "10.1.2.3", {"http": 9000}, True) for slot in ("default-0", "default-1")
        ]
        namespace.write_endpoints(["default-1"], "10.1.2.3", 9000)
        wait_until(lambda: len(snapshot.read_addresses().slots) == 1, SOON, "a slot has left")
        assert is_connected(snapshot)


def test_while_the_api_server_is_away_the_folder_stays_as_it_is(
    namespace: Namespace, snapshot: SnapshotFolder
) -> None:
    acme, shop = entry("models.acme", ["default-0"]), entry("models.shop", ["default-1"])
    namespace.write_slice("placement-0-0", acme)
    namespace.write_endpoints(["default-0"], "10.1.2.3", 9000)
    with feeder(snapshot, namespace):
        await_slices(snapshot, placement_0_0=[acme])
        wait_until(lambda: bool(snapshot.read_addresses().slots), SOON, "the slot has an address")
        namespace.plane.stop_api_server()
        try:
            wait_until(lambda: not is_connected(snapshot), SOON, "the folder says that it is on its own")
            assert snapshot.slice_names() == ["placement-0-0"]
            assert len(snapshot.read_addresses().slots) == 1
        finally:
            namespace.plane.start_api_server()
        namespace.write_slice("placement-1-1", shop)
        await_slices(snapshot, placement_0_0=[acme], placement_1_1=[shop])
        wait_until(lambda: is_connected(snapshot), SOON, "the folder says that it is fed")


def test_a_feeder_that_starts_while_the_api_server_is_away_catches_up_later(
    namespace: Namespace, snapshot: SnapshotFolder
) -> None:
    acme, shop = entry("models.acme", ["default-0"]), entry("models.shop", ["default-1"])
    namespace.write_slice("placement-0-0", acme)
    snapshot.write_slice("placement-0-0", SliceContent((acme,)))
    snapshot.write_slice("placement-1-0", SliceContent((shop,)))
    snapshot.write_addresses(AddressBook((address("default-0", 9000),)))
    snapshot.write_source(SourceState("kubernetes", True, 0.0))
    namespace.plane.stop_api_server()
    try:
        with feeder(snapshot, namespace):
            wait_until(lambda: not is_connected(snapshot), SOON, "the folder says that it is on its own")
            log = snapshot.path.with_name("feeder.log")
            wait_until(lambda: log.read_text().count("WARNING") >= 3, SOON, "it has tried more than once")
            assert snapshot.slice_names() == ["placement-0-0", "placement-1-0"]
            assert len(snapshot.read_addresses().slots) == 1
            namespace.plane.start_api_server()
            await_slices(snapshot, placement_0_0=[acme])
            wait_until(lambda: is_connected(snapshot), SOON, "the folder says that it is fed")
            assert snapshot.read_addresses() == AddressBook()
    finally:
        if not namespace.plane.api_server.is_running:
            namespace.plane.start_api_server()


def test_what_was_missed_is_made_up_for_when_the_api_server_has_forgotten_it(
    namespace: Namespace, snapshot: SnapshotFolder
) -> None:
    acme, shop = entry("models.acme", ["default-0"]), entry("models.shop", ["default-1"])
    namespace.write_slice("placement-0-0", acme)
    with feeder(snapshot, namespace) as process:
        await_slices(snapshot, placement_0_0=[acme])
        process.send_signal(signal.SIGSTOP)
        namespace.plane.stop_api_server()
        namespace.plane.start_api_server()  # what it remembers of changes begins now
        namespace.write_slice("placement-1-1", shop)
        namespace.delete_slice("placement-0-0")
        process.send_signal(signal.SIGCONT)
        await_slices(snapshot, placement_1_1=[shop])
    assert "listing again: too old resource version" in snapshot.path.with_name("feeder.log").read_text()


def test_a_refusal_by_the_api_server_empties_nothing(namespace: Namespace, snapshot: SnapshotFolder) -> None:
    acme = entry("models.acme", ["default-0"])
    snapshot.write_slice("placement-0-0", SliceContent((acme,)))
    namespace.plane.kubectl("create", "serviceaccount", "nobody", "-n", namespace.name)
    kubeconfig = namespace.plane.kubeconfig_for("nobody", namespace.name)
    with feeder(snapshot, namespace, kubeconfig):
        log = snapshot.path.with_name("feeder.log")
        wait_until(lambda: "403" in log.read_text(), SOON, "it has been refused")
        assert snapshot.slice_names() == ["placement-0-0"]
        assert not is_connected(snapshot)


def test_a_router_that_was_never_fed_is_not_ready_until_it_is(
    namespace: Namespace, snapshot: SnapshotFolder
) -> None:
    environment = {"KUBECONFIG": str(namespace.plane.kubeconfig)}
    namespace.plane.stop_api_server()
    try:
        with start_router(
            snapshot.path, "--feed-namespace", namespace.name, environment=environment
        ) as router:
            answer = http.get(f"{router.url}/v2/health/ready")
            assert (answer.status_code, answer.json()["reason"]) == (503, "NotFed")
            namespace.plane.start_api_server()
            wait_until(
                lambda: http.get(f"{router.url}/v2/health/ready").status_code == 200, SOON, "it is ready"
            )
    finally:
        if not namespace.plane.api_server.is_running:
            namespace.plane.start_api_server()


def test_a_router_in_a_cluster_serves_what_it_is_fed_and_what_it_was_fed(
    namespace: Namespace, snapshot: SnapshotFolder
) -> None:
    host = _own_address()
    environment = {"KUBECONFIG": str(namespace.plane.kubeconfig)}
    arguments = ("--feed-namespace", namespace.name)
    with start_upstream("default-0", snapshot.path.parent, host) as upstream:
        namespace.write_slice("placement-0-0", entry("models.acme", ["default-0"]))
        namespace.write_endpoints(["default-0"], host, upstream.port)
        with start_router(snapshot.path, *arguments, "--workers", "2", environment=environment) as router:
            wait_until(lambda: _predicts(router.url), SOON, "the model is routed")
            wait_until(lambda: _ready(router.url).get("connected") is True, SOON, "it says that it is fed")
            _kill_feeder(router.pid)
            namespace.write_slice("placement-0-0", entry("models.shop", ["default-0"]))
            wait_until(lambda: not _predicts(router.url), SOON, "another feeder has taken over")
            namespace.write_slice("placement-0-0", entry("models.acme", ["default-0"]))
            wait_until(lambda: _predicts(router.url), SOON, "the model is routed again")
        namespace.plane.stop_api_server()
        try:
            with start_router(snapshot.path, *arguments, environment=environment) as router:
                wait_until(lambda: _predicts(router.url), SOON, "it serves from the folder")
                wait_until(lambda: _ready(router.url).get("connected") is False, SOON, "it says so")
                assert _ready(router.url)["ready"] is True
                wait_until(lambda: _tells_of_the_folder(router.url), SOON, "its metrics say so too")
                feeding = _feeder_of(router.pid)
                router.kill()
                wait_until(lambda: not _is_alive(feeding), SOON, "the feeder ends with its router")
        finally:
            namespace.plane.start_api_server()


def _own_address() -> str:
    """An address of this machine that is not loopback: the API server takes no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        return str(probe.getsockname()[0])


def _predicts(url: str) -> bool:
    return http.post(f"{url}/predict/acme:1", json=[[1]]).status_code == 200


def _ready(url: str) -> dict[str, object]:
    document: dict[str, object] = http.get(f"{url}/v2/health/ready").json()
    return document


def _tells_of_the_folder(url: str) -> bool:
    metrics = http.get(f"{url}/metrics").text
    return "tenantry_router_source_connected 0.0" in metrics and "tenantry_router_models 1.0" in metrics


def _feeder_of(pid: int) -> int:
    """Once it is there: a child is its parent's likeness until it has become what it shall be."""
    wait_until(lambda: bool(_feeders_of(pid)), SOON, "there is a feeder")
    return _feeders_of(pid)[0]


def _feeders_of(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    return [c for c in children if b"--feeder" in Path(f"/proc/{c}/cmdline").read_bytes()]


def _kill_feeder(pid: int) -> None:
    os.kill(_feeder_of(pid), signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()
