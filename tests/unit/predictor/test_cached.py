"""The cache over real files and a store whose moments the tests decide."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from artifacts import graphs
from tenantry_predictor.errors import ArtifactNotFound, DigestMismatch, LoadError, StorageUnavailable
from tenantry_predictor.repositories.base import Source
from tenantry_predictor.repositories.memory import Entry
from tenantry_predictor.runtimes import onnx
from tenantry_predictor.runtimes.base import LoadedModel
from unit.predictor.stores import DEADLINE, Bench, run, until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "cache")
    yield bench
    bench.cache.close()


async def get(bench: Bench, source: Source) -> tuple[Entry, str]:
    """Acquired and released: what stays is the cache's."""
    entry, origin = await bench.cache.acquire(source)
    bench.cache.memory.release(entry)
    return entry, origin


def test_memory_then_disk_then_store(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "cache")
    source = bench.source("a.onnx", graphs.linear())

    async def scenario() -> None:
        assert (await get(bench, source))[1] == "miss"
        assert (await get(bench, source))[1] == "hit"
        bench.cache.close()
        again = Bench(tmp_path / "cache")
        assert (await get(again, source))[1] == "disk"
        assert again.store.fetches == []
        again.cache.close()

    run(scenario)


def test_a_hundred_at_a_time_load_once(bench: Bench) -> None:
    source = bench.source("a.onnx", graphs.linear())

    async def scenario() -> None:
        bench.store.hang("acme")
        tasks = [asyncio.create_task(bench.cache.acquire(source)) for _ in range(100)]
        await until(lambda: bool(bench.store.fetches))
        bench.store.hung["acme"].set()
        results = await asyncio.gather(*tasks)
        assert len(bench.store.fetches) == 1
        [entry] = {id(entry): entry for entry, _ in results}.values()
        assert entry.users == 100
        for held, _ in results:
            bench.cache.memory.release(held)
        assert entry.users == 0

    run(scenario)


def test_waiters_that_leave_give_back_what_they_held(bench: Bench) -> None:
    source = bench.source("a.onnx", graphs.linear())

    async def scenario() -> None:
        bench.store.hang("acme")
        tasks = [asyncio.create_task(bench.cache.acquire(source)) for _ in range(10)]
        await until(lambda: bool(bench.store.fetches))
        for task in tasks[:9]:
            task.cancel()
        bench.store.hung["acme"].set()
        entry, _ = await tasks[9]
        await asyncio.gather(*tasks, return_exceptions=True)
        assert entry.users == 1

    run(scenario)


def test_a_load_that_has_begun_is_finished_for_the_next(bench: Bench) -> None:
    source = bench.source("a.onnx", graphs.linear())

    async def scenario() -> None:
        bench.store.hang("acme")
        task = asyncio.create_task(bench.cache.acquire(source))
        await until(lambda: bool(bench.store.fetches))
        task.cancel()
        bench.store.hung["acme"].set()
        await until(lambda: len(bench.cache.memory) == 1)
        entry, origin = await get(bench, source)
        assert origin == "hit"
        await until(lambda: entry.users == 0)  # the load itself lets go a moment after its entry is there

    run(scenario)


def test_a_load_that_nobody_waits_for_any_more_does_not_begin(bench: Bench) -> None:
    *first, last = (bench.source(f"{i}.onnx", graphs.linear([i]), pinned=False) for i in range(1, 6))

    async def scenario() -> None:
        bench.store.hang("acme")  # four at a time of one tenant: the fifth has to wait
        running = [asyncio.create_task(bench.cache.acquire(source)) for source in first]
        await until(lambda: len(bench.store.fetches) == 4)
        waiting = asyncio.create_task(bench.cache.acquire(last))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        bench.store.hung["acme"].set()
        await asyncio.gather(*running)
        assert last.uri not in bench.store.fetches
        assert (await get(bench, last))[1] == "miss"

    run(scenario)


def test_a_store_that_hangs_for_one_tenant_delays_no_other(bench: Bench) -> None:
    hung = [bench.source(f"hung-{i}.onnx", graphs.linear([i]), "hung") for i in range(50)]
    others = [bench.source(f"t{i}.onnx", graphs.linear([i]), f"t{i}") for i in range(20)]

    async def scenario() -> None:
        gate = bench.store.hang("hung")
        stuck = [asyncio.create_task(bench.cache.acquire(source)) for source in hung]
        await until(lambda: bool(bench.store.fetches))
        for source in others:
            assert (await get(bench, source))[1] == "miss"
        assert not any(task.done() for task in stuck)
        gate.set()
        await asyncio.gather(*stuck)

    run(scenario)


def test_a_format_that_is_slow_to_open_delays_no_other(tmp_path: Path) -> None:
    gate = threading.Event()

    def open_model(model_format: str, path: Path) -> LoadedModel:
        if model_format == "skops":
            gate.wait(DEADLINE)
        return onnx.load(path)

    bench = Bench(tmp_path / "cache", open_model=open_model)
    slow = [replace(bench.source(f"s{i}", graphs.linear([i]), f"s{i}"), format="skops") for i in range(80)]
    others = [bench.source(f"t{i}", graphs.linear([i]), f"t{i}") for i in range(10)]

    async def scenario() -> None:
        stuck = [asyncio.create_task(bench.cache.acquire(source)) for source in slow]
        await until(lambda: len(bench.store.fetches) >= 10)
        for source in others:
            assert (await get(bench, source))[1] == "miss"
        assert not any(task.done() for task in stuck)
        gate.set()
        await asyncio.gather(*stuck)
        bench.cache.close()

    run(scenario)


def test_loads_that_wait_hold_no_files_open(bench: Bench) -> None:
    sources = [bench.source(f"{i}.onnx", graphs.linear([i]), "hung") for i in range(300)]

    async def scenario() -> None:
        before = len(os.listdir("/proc/self/fd"))
        gate = bench.store.hang("hung")
        tasks = [asyncio.create_task(bench.cache.acquire(source)) for source in sources]
        await until(lambda: len(bench.store.fetches) == 4)
        assert len(os.listdir("/proc/self/fd")) < before + 10
        gate.set()
        await asyncio.gather(*tasks)

    run(scenario)


def test_wrong_digest_is_refused_and_never_kept(bench: Bench) -> None:
    source = bench.source("a.onnx", graphs.linear())
    bench.store.put("a.onnx", graphs.linear([7, 7]))

    async def scenario() -> None:
        with pytest.raises(DigestMismatch, match="overwritten"):
            await bench.cache.acquire(source)
        assert len(bench.cache.memory) == 0
        assert bench.disk.used_bytes == 0

    run(scenario)


@pytest.mark.parametrize("data", [b"", b"not a model", graphs.linear()[:-3], graphs.external()])
def test_bad_bytes_are_refused_and_harm_nobody_else(bench: Bench, data: bytes) -> None:
    bad, good = bench.source("bad.onnx", data), bench.source("good.onnx", graphs.linear(), "globex")

    async def scenario() -> None:
        with pytest.raises(LoadError) as caught:
            await bench.cache.acquire(bad)
        assert caught.value.reason == "LoadFailed"
        assert (await get(bench, good))[1] == "miss"

    run(scenario)


def test_failures_are_remembered_for_a_growing_time(bench: Bench) -> None:
    source = replace(bench.source("a.onnx", graphs.linear()), uri="s3://models/missing.onnx")

    async def scenario() -> None:
        pauses = []
        for attempt in range(1, 9):
            with pytest.raises(ArtifactNotFound):
                await bench.cache.acquire(source)
            assert len(bench.store.fetches) == attempt
            pauses.append(bench.cache.retry_after(source))
            bench.clock.now += pauses[-1] - 1.5  # too early: answered from memory
            with pytest.raises(ArtifactNotFound):
                await bench.cache.acquire(source)
            assert len(bench.store.fetches) == attempt
            bench.clock.now += 2
        assert pauses == sorted(pauses)
        assert pauses[0] <= 2
        assert pauses[-1] == pauses[-2] <= 31
        bench.store.put("missing.onnx", graphs.linear())
        bench.clock.now += 31
        assert (await get(bench, source))[1] == "miss"

    run(scenario)


def test_an_explicit_load_tries_at_once(bench: Bench) -> None:
    source = bench.source("a.onnx", graphs.linear())

    async def scenario() -> None:
        bench.store.error = StorageUnavailable("The store is away.")
        with pytest.raises(StorageUnavailable):
            await bench.cache.acquire(source)
        bench.store.error = None
        bench.cache.memory.release(await bench.cache.load(source))
        assert (await get(bench, source))[1] == "hit"

    run(scenario)


def test_what_is_verified_stays_where_memory_is_free(bench: Bench) -> None:
    source = bench.source("a.onnx", graphs.linear())

    async def scenario() -> None:
        bench.cache.memory.release(await bench.cache.verify(source))
        assert (await get(bench, source))[1] == "hit"

    run(scenario)


def test_verify_evicts_nothing(tmp_path: Path) -> None:
    sizing = Bench(tmp_path / "sizing")
    data = [graphs.linear([i], padding=100_000) for i in range(3)]

    async def scenario() -> None:
        entry, _ = await get(sizing, sizing.source("a", data[0]))
        sizing.cache.close()
        room = entry.size_bytes * 5 // 2
        bench = Bench(tmp_path / "cache", memory=room, disk=len(data[0]) * 5 // 2)
        kept = [bench.source(f"{i}.onnx", data[i]) for i in range(2)]
        for source in kept:
            await get(bench, source)
        used, on_disk = bench.cache.memory.used_bytes, bench.disk.used_bytes
        verified = await bench.cache.verify(bench.source("2.onnx", data[2]))
        assert verified.model.inputs
        bench.cache.memory.release(verified)
        assert (bench.cache.memory.used_bytes, bench.disk.used_bytes) == (used, on_disk)
        assert bench.cache.memory.evictions == 0
        assert [(await get(bench, source))[1] for source in kept] == ["hit", "hit"]
        bench.cache.close()

    run(scenario)


def test_unload_makes_first_to_evict_but_ends_no_use(bench: Bench) -> None:
    source = bench.source("a.onnx", graphs.linear())

    async def scenario() -> None:
        entry = await bench.cache.load(source, pinned=True)
        assert entry.pinned
        bench.cache.unload(source)
        assert not entry.pinned
        assert (await get(bench, source)) == (entry, "hit")
        bench.cache.memory.release(entry)

    run(scenario)


def test_a_load_that_does_not_pin_lets_go_what_the_same_model_pinned(bench: Bench) -> None:
    source = bench.source("a.onnx", graphs.linear())

    async def scenario() -> None:
        for model, pinned, kept in (
            (source, True, True),
            (replace(source, model="models.another"), False, True),
            (source, False, False),
        ):
            entry = await bench.cache.load(model, pinned=pinned)
            bench.cache.memory.release(entry)
            assert entry.pinned == kept
        assert bench.cache.memory.pinned_bytes == 0

    run(scenario)


def test_each_tenant_loads_what_it_names_itself(bench: Bench) -> None:
    data = graphs.linear()
    mine = bench.source("acme/a.onnx", data)
    theirs = replace(mine, tenant="globex", uri="s3://models/globex/none.onnx")

    async def scenario() -> None:
        await get(bench, mine)
        with pytest.raises(ArtifactNotFound):
            await bench.cache.acquire(theirs)

    run(scenario)


def test_unpinned_artifact_is_found_on_the_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "cache", memory=1_000_000)
    source = bench.source("a.onnx", graphs.linear([1], padding=200_000), pinned=False)
    others = [bench.source(f"{i}.onnx", graphs.linear([i], padding=200_000), "globex") for i in range(4)]

    async def scenario() -> None:
        await get(bench, source)
        bench.cache.unload(source)
        for other in others:
            await get(bench, other)
        assert (await get(bench, source))[1] == "disk"
        assert bench.store.fetches.count(source.uri) == 1
        bench.cache.close()

    run(scenario)


def test_resolving_fetches_anew(bench: Bench) -> None:
    source = bench.source("a.onnx", graphs.linear([1]), pinned=False)

    async def scenario() -> None:
        await get(bench, source)
        bench.store.put("a.onnx", graphs.linear([2]))
        entry = await bench.cache.load(source)
        bench.cache.memory.release(entry)
        assert entry.key.sha256 == graphs.digest(graphs.linear([2]))

    run(scenario)


def test_served_even_where_the_disk_keeps_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "cache", disk=0)
    source = bench.source("a.onnx", graphs.linear(padding=100_000))

    async def scenario() -> None:
        assert (await get(bench, source))[1] == "miss"
        assert not any(path.is_file() for path in (tmp_path / "cache" / "models").rglob("*"))
        bench.cache.close()

    run(scenario)
