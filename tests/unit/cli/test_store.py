"""The state directory as a store: what the API server promises of objects, and what a crash leaves."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_operator.definitions import definitions
from tenantry_operator.local.directory import AlreadyRunning, StateDirectory, StateError
from tenantry_operator.local.events import EventLog
from tenantry_operator.local.store import ObjectName, ResourceStore
from tenantry_operator.planning.plan import Event
from tenantry_operator.validation import admit

NAME = ObjectName(definitions()["TenantModel"], "default", "acme")


def manifest(replicas: int = 1, **annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantModel",
        "metadata": {"name": "acme", "annotations": annotations},
        "spec": {"artifact": {"uri": "s3://models/acme.onnx"}, "minReplicas": replicas},
    }


@pytest.fixture(autouse=True, scope="module")
def _compiled_rules() -> None:
    """The first validation compiles rules, for which it deepens Python's stack: not within an example."""
    admit(manifest())


@pytest.fixture
def store(tmp_path: Path) -> ResourceStore:
    return ResourceStore(StateDirectory(tmp_path / "state"))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["a", "b"])), min_size=1, max_size=8))
def test_generation_counts_changes_of_spec_and_the_version_every_change(
    applied: list[tuple[int, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ResourceStore(StateDirectory(Path(folder)))
        generation, before = 0, None
        for replicas, note in applied:
            known = store.get(NAME)
            outcome, content = store.apply(manifest(replicas, note=note), "default")
            generation += before is None or before[0] != replicas
            assert content["metadata"]["generation"] == generation
            changed = before != (replicas, note)
            assert outcome == ("created" if before is None else "configured" if changed else "unchanged")
            if known is not None:
                versions = [int(c["metadata"]["resourceVersion"]) for c in (known, content)]
                assert (versions[0] < versions[1]) == changed
                assert content["metadata"]["uid"] == known["metadata"]["uid"]
            before = (replicas, note)


def test_many_who_apply_at_a_time_lose_nothing(store: ResourceStore) -> None:
    def apply(number: int) -> str:
        return store.apply(manifest(1 + number % 7), "default")[0]

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(apply, range(100)))
    content = store.get(NAME)
    assert content is not None
    assert outcomes.count("created") == 1
    assert content["metadata"]["generation"] == 1 + outcomes.count("configured")


def test_a_status_belongs_to_one_object_and_not_to_its_name(store: ResourceStore) -> None:
    _, first = store.apply(manifest(), "default")
    store.write_status(NAME, first["metadata"]["uid"], {"replicas": 2})
    shown = store.get(NAME)
    assert shown is not None
    assert shown["status"] == {"replicas": 2}
    assert int(shown["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    assert store.apply(manifest(), "default")[0] == "unchanged"

    store.delete(NAME)
    _, second = store.apply(manifest(), "default")
    store.write_status(NAME, first["metadata"]["uid"], {"replicas": 3})  # said of the one before, late
    shown = store.get(NAME)
    assert shown is not None
    assert "status" not in shown
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


def test_what_a_crash_left_half_written_is_never_read(store: ResourceStore) -> None:
    store.apply(manifest(), "default")
    folder = store.directory.resources / "tenantmodels" / "default"
    (folder / ".other.json.123").write_text('{"kind": "Tena')
    assert [content["metadata"]["name"] for content in store.list(NAME.kind)] == ["acme"]


def test_the_directory_is_for_its_owner_alone(store: ResourceStore) -> None:
    store.directory.create()
    assert store.directory.path.stat().st_mode & 0o077 == 0
    assert store.directory.token.stat().st_mode & 0o077 == 0
    token = store.directory.token.read_text()
    store.directory.create()
    assert store.directory.token.read_text() == token


def test_one_up_at_a_time(store: ResourceStore) -> None:
    directory = store.directory
    directory.create()
    assert not directory.is_running()
    with directory.running():
        directory.describe_up({"pid": 7, "url": "http://127.0.0.1:1"})
        assert directory.is_running()
        with (
            pytest.raises(AlreadyRunning, match=r"pid 7, http://127.0.0.1:1"),
            StateDirectory(directory.path).running(),
        ):
            pass
    assert not directory.is_running()
    assert directory.read_up() is None
    with directory.running():
        pass


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="choose another with --state"):
        StateDirectory(tmp_path / "file").create()


def event(uid: str, message: str) -> Event:
    return Event("TenantModel", "acme", "default", uid, "Warning", "LoadFailed", message)


def test_events_that_repeat_are_one_that_counts(store: ResourceStore) -> None:
    store.directory.create()
    log = EventLog(store.directory)
    for uid, message in (("a", "one"), ("b", "other"), ("a", "two"), ("a", "one")):
        log.record(event(uid, message))
    assert [(e["message"], e["count"]) for e in log.about("a")] == [("two", 1), ("one", 2)]
    with store.directory.events.open("a") as file:
        file.write('{"uid": "a", "rea')  # cut short by a crash
    assert len(log.about("a")) == 2


def test_events_are_bounded_and_the_newest_stay(store: ResourceStore) -> None:
    store.directory.create()
    log = EventLog(store.directory)
    text = "x" * 10_000
    for number in range(300):
        log.record(event("a", f"{number} {text}"))
    assert store.directory.events.stat().st_size < 1.1 * 1024 * 1024
    assert log.about("a")[-1]["message"].startswith("299 ")
