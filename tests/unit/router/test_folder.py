"""A real folder, followed: what is written arrives, what is broken does not take anything away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantry_core.http.metrics import metrics_response
from tenantry_core.slices import Entry, SliceContent
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder, SourceState, Stamp
from tenantry_router.fleet import Fleet
from tenantry_router.folder import Follower
from tenantry_router.table import Table
from unit.router.worlds import FakeUpstream, entries, entry


class World:
    def __init__(self, path: Path) -> None:
        self.folder = SnapshotFolder(path)
        self.table = Table()
        self.fleet = Fleet(lambda _: FakeUpstream())  # type: ignore[arg-type,return-value]
        self.follower = Follower(path, self.table, self.fleet)

    def look(self) -> None:
        asyncio.run(self.follower.look())

    @property
    def models(self) -> set[str]:
        return set(self.table.models)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def slice_of(*keys: str) -> SliceContent:
    return SliceContent(tuple(entry(key) for key in keys))


def corrupt_files() -> float:
    lines = metrics_response().body.decode().splitlines()
    return next(
        float(line.split()[1]) for line in lines if line.startswith("tenantry_router_corrupt_files_total ")
    )


def test_everything_that_is_there_is_read_at_once(world: World) -> None:
    world.folder.write_slice("placement-1-0", slice_of("n.a"))
    world.folder.write_slice("placement-1-1", slice_of("n.b"))
    world.folder.write_addresses(AddressBook((SlotAddress("p-0", "p", "h", {"http": 1}),)))
    world.folder.write_source(SourceState("local", True, 1.0))
    world.look()
    assert world.models == {"n.a", "n.b"}
    assert set(world.fleet.pools["p"].slots) == {"p-0"}
    assert world.follower.source == SourceState("local", True, 1.0)


def test_an_empty_folder_is_no_error(world: World) -> None:
    world.look()
    assert world.models == set()
    assert world.follower.source is None


def test_a_model_that_moves_while_the_folder_is_looked_at_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.folder.write_slice("placement-1-0", slice_of("n.a"))
    world.folder.write_slice("placement-1-1", slice_of("n.m"))
    world.look()
    scan, moves = SnapshotFolder.slice_stamps, ["placement-1-1"]

    def scan_while_it_moves(folder: SnapshotFolder) -> dict[str, Stamp] | None:
        found = scan(folder)
        assert found is not None
        if moves:  # the scan has seen the one before it was written, and comes too late for the other
            left = moves.pop()
            folder.write_slice("placement-1-0", slice_of("n.a", "n.m"))
            folder.delete_slice(left)
            del found[left]
        return found

    monkeypatch.setattr(SnapshotFolder, "slice_stamps", scan_while_it_moves)
    world.look()
    assert world.models == {"n.a", "n.m"}
    assert set(world.table.slices) == {"placement-1-0"}


def test_a_slice_that_a_scan_leaves_out_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.folder.write_slice("placement-0-0", slice_of("n.a"))
    world.look()
    monkeypatch.setattr(SnapshotFolder, "slice_stamps", lambda _: {})
    world.look()
    assert world.models == {"n.a"}
    world.folder.delete_slice("placement-0-0")
    world.look()
    assert world.models == set()


NEGATIVE_WEIGHT = b"""{"entries": [{"model": "n.a", "uid": "u", "created": "2026-01-01T00:00:00Z",
  "revision": 1, "tenant": "a", "pool": "p", "targets": [
    {"reference": {"uri": "file:///a.onnx", "format": "onnx"}, "slots": ["p-0"], "weight": -1}]}]}"""


@pytest.mark.parametrize(
    "broken",
    [b"", b'{"entries": [{"model"', b'{"entries": [{"model": 1}]}', b"\xff\xfe", NEGATIVE_WEIGHT],
)
def test_a_broken_slice_leaves_its_last_good_content_and_is_told_once(
    world: World, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    world.folder.write_slice("placement-0-0", slice_of("n.a"))
    world.look()
    before = corrupt_files()
    (world.folder.path / "slices" / "placement-0-0.json").write_bytes(broken)
    world.look()
    world.look()
    assert world.models == {"n.a"}
    assert corrupt_files() == before + 1
    assert len([record for record in caplog.records if "placement-0-0.json" in record.message]) == 1
    world.folder.write_slice("placement-0-0", slice_of("n.b"))
    world.look()
    assert world.models == {"n.b"}


@contextlib.contextmanager
def no_files_to_open() -> Iterator[None]:
    """As when clients have taken every file descriptor of the process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_could_not_be_opened_is_read_at_the_next_look(world: World) -> None:
    async def test() -> None:
        world.folder.write_slice("placement-0-0", slice_of("n.a"))
        await world.follower.look()
        world.folder.write_slice("placement-0-0", slice_of("n.b"))
        world.folder.write_addresses(AddressBook((SlotAddress("p-0", "p", "h", {"http": 1}),)))
        with no_files_to_open():
            await world.follower.look()
        assert world.models == {"n.a"}
        await world.follower.look()
        assert world.models == {"n.b"}
        assert set(world.fleet.slots) == {"p-0"}

    asyncio.run(test())


def test_broken_addresses_leave_the_slots_that_are_known(world: World) -> None:
    world.folder.write_addresses(AddressBook((SlotAddress("p-0", "p", "h", {"http": 1}),)))
    world.look()
    (world.folder.path / "addresses.json").write_text("{")
    world.look()
    assert set(world.fleet.slots) == {"p-0"}


def test_a_slice_that_goes_takes_its_models_and_a_folder_that_goes_takes_none(world: World) -> None:
    world.folder.write_slice("placement-1-0", slice_of("n.a"))
    world.folder.write_slice("placement-1-1", slice_of("n.b"))
    world.look()
    world.folder.delete_slice("placement-1-0")
    world.look()
    assert world.models == {"n.b"}
    shutil.rmtree(world.folder.path)
    world.look()
    assert world.models == {"n.b"}


def test_a_slice_that_comes_back_is_read_again(world: World) -> None:
    path = world.folder.path / "slices" / "placement-0-0.json"
    world.folder.write_slice("placement-0-0", slice_of("n.a"))
    world.look()
    aside = path.rename(path.with_name(".aside"))
    world.look()
    assert world.models == set()
    aside.rename(path)  # with the same stamp as before
    world.look()
    assert world.models == {"n.a"}


writes = st.lists(
    st.tuples(
        st.sampled_from(["placement-0-0", "placement-1-0", "placement-1-1"]),
        st.none() | st.lists(entries, max_size=3).map(tuple),
        st.booleans(),
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(writes)
def test_however_writes_and_looks_interleave_the_table_ends_like_one_read_anew(
    tmp_path: Path, steps: list[tuple[str, tuple[Entry, ...] | None, bool]]
) -> None:
    shutil.rmtree(tmp_path / "slices", ignore_errors=True)
    followed = World(tmp_path)
    for name, content, looks in steps:
        if content is None:
            followed.folder.delete_slice(name)
        else:
            followed.folder.write_slice(name, SliceContent(content))
        if looks:
            followed.look()
    followed.look()
    fresh = World(tmp_path)
    fresh.look()
    assert {k: (m.entry.uid, m.entry.revision) for k, m in followed.table.models.items()} == {
        k: (m.entry.uid, m.entry.revision) for k, m in fresh.table.models.items()
    }


@contextlib.asynccontextmanager
async def following(world: World) -> AsyncIterator[None]:
    task = asyncio.create_task(world.follower.follow())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds
        await asyncio.sleep(0.005)
    return time.monotonic() - start


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_changes_arrive_by_themselves(world: World) -> None:
    async def scenario() -> None:
        world.folder.write_slice("placement-0-0", slice_of("n.a"))
        await world.follower.look()
        async with following(world):
            for keys in (("n.a", "n.b"), ("n.c",), ("n.a", "n.c")):
                world.folder.write_slice("placement-0-0", slice_of(*keys))
                await until(lambda keys=keys: world.models == set(keys))  # type: ignore[misc]
            world.folder.write_source(SourceState("local", False, 1.0))
            await until(lambda: world.follower.source is not None)

    run(scenario())


def test_a_folder_that_is_replaced_as_a_whole_is_still_followed(world: World) -> None:
    """Its notifications are lost; the next look finds what they would have told."""

    async def scenario() -> None:
        world.folder.write_slice("placement-0-0", slice_of("n.a"))
        async with following(world):
            await until(lambda: world.models == {"n.a"})
            (world.folder.path / "slices").rename(world.folder.path / ".old")
            await asyncio.sleep(0)
            world.folder.write_slice("placement-0-0", slice_of("n.b"))
            await until(lambda: world.models == {"n.b"})

    run(scenario())


def test_requests_are_let_through_between_two_files(world: World) -> None:
    for number in range(50):
        world.folder.write_slice(f"placement-6-{number}", slice_of(f"n.m{number}"))
    sizes: list[int] = []

    async def scenario() -> None:
        look = asyncio.create_task(world.follower.look())
        while not look.done():
            sizes.append(len(world.models))
            await asyncio.sleep(0)

    run(scenario())
    assert len(world.models) == 50
    assert len(set(sizes)) > 25


def test_without_notifications_the_folder_is_looked_at_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr("watchfiles.main.RustNotify", refuse)

    async def scenario() -> None:
        async with following(world):
            for key in ("n.a", "n.b"):
                world.folder.write_slice("placement-0-0", slice_of(key))
                await until(lambda key=key: world.models == {key})  # type: ignore[misc]

    run(scenario())
