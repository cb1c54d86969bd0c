"""Artifacts known by their store's tag, as those of single users are: never stale, rarely asked about."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifacts import graphs
from tenantry_predictor.errors import ArtifactNotFound, LoadError, StorageUnavailable
from tenantry_predictor.repositories import freshness
from tenantry_predictor.repositories.base import Source
from tenantry_predictor.repositories.freshness import REFRESH_SECONDS
from tenantry_predictor.runtimes import onnx
from tenantry_predictor.runtimes.base import LoadedModel
from unit.predictor.stores import DEADLINE, Bench, run, until

OLD, NEW = graphs.linear([1]), graphs.linear([2])


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, a store that answers counts as answering in time."""
    monkeypatch.setattr(freshness, "_PATIENCE", DEADLINE)
    monkeypatch.setattr(freshness, "_CHECK_SECONDS", DEADLINE)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "cache")
    yield bench
    bench.cache.close()


@pytest.fixture
def source(bench: Bench) -> Source:
    return bench.source("users/42.onnx", OLD, pinned=False)


async def served(bench: Bench, source: Source) -> bytes:
    """The bytes that answer."""
    entry, _ = await bench.cache.acquire(source)
    bench.cache.memory.release(entry)
    return {graphs.digest(data): data for data in (OLD, NEW)}[entry.key.sha256]


def test_in_the_first_half_of_the_interval_the_store_is_left_alone(bench: Bench, source: Source) -> None:
    async def scenario() -> None:
        for _ in range(10):
            assert await served(bench, source) == OLD
            bench.clock.now += REFRESH_SECONDS / 21
        assert (bench.store.fetches, bench.store.tags) == ([source.uri], [])

    run(scenario)


def test_in_the_second_half_the_old_one_serves_while_the_store_is_asked(bench: Bench, source: Source) -> None:
    async def scenario() -> None:
        await served(bench, source)
        bench.store.put("users/42.onnx", NEW)
        bench.clock.now += REFRESH_SECONDS * 0.6
        gate = bench.store.hang("acme")
        assert bench.cache.peek(source) is not None  # at once
        await until(lambda: bench.store.tags == [source.uri])
        assert await served(bench, source) == OLD
        gate.set()
        await until(lambda: len(bench.cache.memory) == 2)
        assert await served(bench, source) == NEW
        assert len(bench.store.tags) == 1

    run(scenario)


def test_after_the_interval_nobody_is_served_the_old_one(bench: Bench, source: Source) -> None:
    async def scenario() -> None:
        await served(bench, source)
        bench.store.put("users/42.onnx", NEW)
        bench.clock.now += REFRESH_SECONDS
        assert bench.cache.peek(source) is None
        assert await asyncio.gather(*(served(bench, source) for _ in range(50))) == [NEW] * 50
        assert (len(bench.store.tags), len(bench.store.fetches)) == (1, 2)

    run(scenario)


def test_what_has_not_changed_is_not_fetched_again(bench: Bench, source: Source) -> None:
    async def scenario() -> None:
        for _ in range(5):
            assert await served(bench, source) == OLD
            bench.clock.now += REFRESH_SECONDS * 3
        assert (len(bench.store.tags), len(bench.store.fetches)) == (4, 1)

    run(scenario)


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_a_store_that_is_away_takes_nothing_from_known_users(
    bench: Bench, source: Source, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "_PATIENCE", 0.1)

    async def scenario() -> None:
        await served(bench, source)
        if how == "fails":
            bench.store.error = StorageUnavailable("The store is away.")
        else:
            bench.store.hang("acme")
        for _ in range(20):
            bench.clock.now += 3.0 if how == "hangs" else REFRESH_SECONDS
            assert await served(bench, source) == OLD
        bench.store.error = None
        for gate in bench.store.hung.values():
            gate.set()
        bench.store.put("users/42.onnx", NEW)
        while await served(bench, source) == OLD:
            bench.clock.now += 1
            await asyncio.sleep(0.001)

    run(scenario)


def test_a_user_whose_artifact_is_gone_is_unknown_within_the_interval(bench: Bench, source: Source) -> None:
    async def scenario() -> None:
        await served(bench, source)
        del bench.store.objects[source.uri]
        bench.clock.now += REFRESH_SECONDS
        with pytest.raises(ArtifactNotFound):
            await served(bench, source)
        with pytest.raises(ArtifactNotFound):  # remembered briefly
            await served(bench, source)
        assert len(bench.store.fetches) == 1
        bench.store.put("users/42.onnx", NEW)
        bench.clock.now += 31
        assert await served(bench, source) == NEW

    run(scenario)


def test_a_successor_that_does_not_load_leaves_the_old_one_serving(bench: Bench, source: Source) -> None:
    async def scenario() -> None:
        await served(bench, source)
        bench.store.put("users/42.onnx", b"no model")
        for _ in range(3):
            bench.clock.now += REFRESH_SECONDS
            assert await served(bench, source) == OLD
        bench.store.put("users/42.onnx", NEW)
        bench.clock.now += REFRESH_SECONDS
        assert await served(bench, source) == NEW

    run(scenario)


def test_an_evicted_one_is_served_from_the_disk_only_while_it_is_fresh(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "cache", memory=0)
    source = bench.source("users/42.onnx", OLD, pinned=False)

    async def scenario() -> None:
        assert await served(bench, source) == OLD
        assert await served(bench, source) == OLD
        assert len(bench.store.fetches) == 1
        bench.store.put("users/42.onnx", NEW)
        bench.clock.now += REFRESH_SECONDS
        assert await served(bench, source) == NEW
        bench.cache.close()

    run(scenario)


def test_a_hundred_thousand_users_are_remembered_within_a_bound(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "_REMEMBERED", 20)
    hot = bench.source("users/hot.onnx", OLD, pinned=False)

    async def scenario() -> None:
        await served(bench, hot)
        for number in range(60):
            await served(bench, bench.source(f"users/{number}.onnx", OLD, pinned=False))
            await served(bench, hot)
        assert len(bench.cache.freshness) == 20
        assert bench.store.fetches.count(hot.uri) == 1  # who is in use is not forgotten

    run(scenario)


def test_questions_at_a_time_are_bounded_and_whoever_is_not_asked_about_is_served(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "_MOST_CHECKS", 3)
    monkeypatch.setattr(freshness, "_PATIENCE", 0.1)
    users = [bench.source(f"users/{number}.onnx", OLD, pinned=False) for number in range(20)]

    async def scenario() -> None:
        for user in users:
            await served(bench, user)
        bench.store.hang("acme")
        bench.clock.now += REFRESH_SECONDS
        assert await asyncio.gather(*(served(bench, user) for user in users)) == [OLD] * 20
        assert len(asyncio.all_tasks()) < 10
        bench.store.hung["acme"].set()

    run(scenario)


def test_looks_at_artifacts_do_not_queue_behind_loads_of_the_same_tenant(tmp_path: Path) -> None:
    gate = threading.Event()
    opened: list[str] = []

    def open_model(_: str, path: Path) -> LoadedModel:
        opened.append(path.name)
        if len(opened) > 1:
            gate.wait(DEADLINE)
        return onnx.load(path)

    bench = Bench(tmp_path / "cache", open_model=open_model)
    known = bench.source("users/42.onnx", OLD, pinned=False)
    slow = [bench.source(f"users/{n}.onnx", graphs.linear([n]), pinned=False) for n in range(10)]

    async def scenario() -> None:
        await served(bench, known)
        loads = [asyncio.create_task(bench.cache.acquire(source)) for source in slow]
        await until(lambda: len(opened) > 2)
        for _ in range(3):
            bench.clock.now += REFRESH_SECONDS
            assert await served(bench, known) == OLD
        assert bench.store.tags == [known.uri] * 3
        assert not any(load.done() for load in loads)
        gate.set()
        await asyncio.gather(*loads)
        bench.cache.close()

    run(scenario)


def test_failures_hold_on_to_no_frames(bench: Bench, source: Source) -> None:
    async def scenario() -> None:
        del bench.store.objects[source.uri]
        with pytest.raises(LoadError):
            await served(bench, source)
        kept = bench.cache.failures.current(source)
        assert kept is not None
        assert (kept.__traceback__, kept.__cause__, kept.__context__) == (None, None, None)
        assert (kept.reason, kept.message) == ("ArtifactNotFound", f"There is no object {source.uri}.")

    run(scenario)
