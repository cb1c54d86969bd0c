"""What the feeder makes of objects, however unusual: files, and one address a slot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder
from tenantry_router.mirror import AddressMirror, Contact, SliceMirror


@pytest.fixture
def folder(tmp_path: Path) -> SnapshotFolder:
    return SnapshotFolder(tmp_path)


def placement(name: str, *models: str, **fields: Any) -> bytes:
    entries = [
        {"model": m, "uid": "1", "created": "2026", "revision": 1, "tenant": "a", "pool": "p", **fields}
        for m in models
    ]
    return json.dumps({"metadata": {"name": name, "resourceVersion": "7"}, "entries": entries}).encode()


def endpoint(host: str, slot: str = "p-0", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [host], "hostname": slot, "conditions": conditions}


def endpoints(name: str, *items: dict[str, Any], kind: str = "IPv4", pool: str | None = "p") -> bytes:
    return json.dumps(
        {
            "metadata": {"name": name, "labels": {"tenantry.dev/pool": pool} if pool else {}},
            "addressType": kind,
            "endpoints": list(items),
            "ports": [{"name": "http", "port": 80}, {"name": None, "port": 81}],
        }
    ).encode()


def hosts(folder: SnapshotFolder) -> dict[str, tuple[str, bool]]:
    return {address.slot: (address.host, address.ready) for address in folder.read_addresses().slots}


def models(folder: SnapshotFolder, name: str) -> list[str]:
    content = folder.read_slice(name)
    return [entry.model for entry in content.entries] if content else []


def test_a_complete_list_replaces_what_was_there(folder: SnapshotFolder) -> None:
    mirror = SliceMirror(folder)
    mirror.replace([placement("placement-1-0", "n.a"), placement("placement-1-1", "n.b")])
    mirror.replace([placement("placement-1-1", "n.c")])
    assert folder.slice_names() == ["placement-1-1"]
    assert models(folder, "placement-1-1") == ["n.c"]


def test_a_slice_that_cannot_be_read_keeps_its_last_good_file(folder: SnapshotFolder) -> None:
    mirror = SliceMirror(folder)
    mirror.replace([placement("placement-1-0", "n.a"), placement("placement-1-1", "n.b")])
    unreadable = placement("placement-1-0", "n.x", revision="many")
    mirror.replace([unreadable, placement("placement-1-1", "n.c")])
    mirror.put(unreadable)
    assert models(folder, "placement-1-0") == ["n.a"]
    assert models(folder, "placement-1-1") == ["n.c"]


def test_a_file_that_is_right_already_is_not_written_again(folder: SnapshotFolder) -> None:
    mirror = SliceMirror(folder)
    mirror.put(placement("placement-0-0", "n.a"))
    path = folder.path / "slices" / "placement-0-0.json"
    before = path.stat().st_ino
    SliceMirror(folder).replace([placement("placement-0-0", "n.a")])
    assert path.stat().st_ino == before
    path.write_text("{")
    mirror.put(placement("placement-0-0", "n.a"))
    assert models(folder, "placement-0-0") == ["n.a"]


def test_while_a_pod_is_replaced_the_ready_one_has_the_slot(folder: SnapshotFolder) -> None:
    mirror = AddressMirror(folder)
    old, new = endpoint("10.0.0.1", ready=True), endpoint("10.0.0.2", ready=False)
    mirror.put(endpoints("e", old, new))
    assert hosts(folder) == {"p-0": ("10.0.0.1", True)}
    mirror.put(endpoints("e", old, endpoint("10.0.0.2", ready=True)))
    assert hosts(folder) == {"p-0": ("10.0.0.1", True)}
    leaving = endpoint("10.0.0.1", ready=False, serving=True, terminating=True)
    mirror.put(endpoints("e", leaving, endpoint("10.0.0.2", ready=True)))
    assert hosts(folder) == {"p-0": ("10.0.0.2", True)}


def test_a_pod_that_ends_has_the_slot_until_its_successor_is_ready(folder: SnapshotFolder) -> None:
    mirror = AddressMirror(folder)
    leaving = endpoint("10.0.0.1", ready=False, serving=True, terminating=True)
    mirror.put(endpoints("e", leaving))
    assert hosts(folder) == {"p-0": ("10.0.0.1", True)}
    mirror.put(endpoints("e", leaving, endpoint("10.0.0.2", ready=False)))
    assert hosts(folder) == {"p-0": ("10.0.0.1", True)}
    mirror.put(endpoints("e", leaving, endpoint("10.0.0.2", ready=True)))
    assert hosts(folder) == {"p-0": ("10.0.0.2", True)}


def test_a_pod_that_has_ended_is_not_asked_any_more(folder: SnapshotFolder) -> None:
    gone = endpoint("10.0.0.1", ready=False, serving=False, terminating=True)
    AddressMirror(folder).put(endpoints("e", gone))
    assert hosts(folder) == {"p-0": ("10.0.0.1", False)}


def test_only_named_endpoints_of_pools_count(folder: SnapshotFolder) -> None:
    mirror = AddressMirror(folder)
    mirror.replace(
        [
            endpoints("a", endpoint("10.0.0.1"), endpoint("10.0.0.2", slot="")),
            endpoints("b", endpoint("fd00::1"), endpoint("fd00::2", slot="p-1"), kind="IPv6"),
            endpoints("c", endpoint("example.org", slot="p-2"), kind="FQDN"),
            endpoints("d", endpoint("10.0.0.3", slot="p-3"), pool=None),
        ]
    )
    assert hosts(folder) == {"p-0": ("10.0.0.1", True), "p-1": ("fd00::2", True)}
    assert folder.read_addresses().slots[0].ports == {"http": 80}
    mirror.remove("b")
    assert hosts(folder) == {"p-0": ("10.0.0.1", True)}


def test_an_endpointslice_without_endpoints_is_read(folder: SnapshotFolder) -> None:
    empty = {"metadata": {"name": "e", "labels": {"tenantry.dev/pool": "p"}}, "addressType": "IPv4"}
    AddressMirror(folder).put(json.dumps(empty | {"endpoints": None, "ports": None}).encode())
    assert hosts(folder) == {}


def test_an_endpointslice_that_cannot_be_read_stays_as_it_was(
    folder: SnapshotFolder,
) -> None:
    mirror = AddressMirror(folder)
    mirror.replace([endpoints("a", endpoint("10.0.0.1")), endpoints("b", endpoint("10.0.0.2", slot="p-1"))])
    broken = json.dumps({"metadata": {"name": "a"}, "endpoints": 7}).encode()
    mirror.replace([broken, endpoints("b", endpoint("10.0.0.3", slot="p-1"))])
    mirror.put(broken)
    assert hosts(folder) == {"p-0": ("10.0.0.1", True), "p-1": ("10.0.0.3", True)}


def test_addresses_of_before_stay_until_a_list_is_complete(folder: SnapshotFolder) -> None:
    folder.write_addresses(AddressBook((SlotAddress("p-0", "p", "10.0.0.1", {"http": 80}),)))
    mirror = AddressMirror(folder)
    assert hosts(folder) == {"p-0": ("10.0.0.1", True)}
    mirror.replace([])
    assert hosts(folder) == {}


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans()), max_size=20))
def test_the_folder_counts_as_connected_while_every_watch_stands(
    tmp_path_factory: pytest.TempPathFactory, reports: list[tuple[int, bool]]
) -> None:
    folder = SnapshotFolder(tmp_path_factory.mktemp("contact"))
    contact = Contact(folder, parties=2)
    standing = [False, False]
    since = folder.read_source()
    assert since is not None
    assert not since.connected
    for party, stands in reports:
        before = folder.read_source()
        contact.report(party, stands)
        standing[party] = stands
        state = folder.read_source()
        assert state is not None
        assert before is not None
        assert state.connected == all(standing)
        assert (state.since == before.since) or state.connected != before.connected
