"""Models that are opened as they came are made smaller afterwards, and open so from the disk."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from tenantry_predictor.errors import LoadError
from tenantry_predictor.repositories.base import Source
from tenantry_predictor.repositories.memory import Entry
from tenantry_predictor.runtimes import onnx
from tenantry_predictor.runtimes.columns import columns_of
from tenantry_predictor.runtimes.conversion import convert
from tenantry_predictor.runtimes.registry import Runtimes
from unit.predictor.stores import Bench, run, until

ROWS = np.random.default_rng(3).normal(size=(50, 4)).astype(np.float32)


@cache
def trees() -> bytes:
    model = GradientBoostingRegressor(n_estimators=100).fit(ROWS, ROWS[:, 0] + ROWS[:, 1] ** 2)
    return convert(model, columns_of(model))


def bench_at(directory: Path) -> Bench:
    return Bench(directory, open_model=lambda _, path: onnx.load(path))


def answers(entry: Entry) -> list[float]:
    [values] = entry.model.predict({"input": ROWS}, ["variable"]).values()
    return [float(value) for value in values.ravel()]


async def smaller(bench: Bench, source: Source) -> tuple[int, int]:
    """What the memory tier counts for a model: as it was opened, and once it was prepared."""
    entry, _ = await bench.cache.acquire(source)
    opened, expected = bench.cache.memory.used_bytes, answers(entry)
    await until(lambda: bench.cache.memory.used_bytes != opened)
    assert answers(entry) == expected
    assert entry.size_bytes == bench.cache.memory.used_bytes
    bench.cache.memory.release(entry)
    await until(lambda: entry.users == 0)
    return opened, bench.cache.memory.used_bytes


def form(tenant: str, source: Source, bench: Bench) -> bytes | None:
    return bench.disk.prepared(tenant, source.sha256, Runtimes().form("onnx"))


def test_trees_take_less_memory_than_they_were_opened_with(tmp_path: Path) -> None:
    bench = bench_at(tmp_path / "cache")
    source = bench.source("trees.onnx", trees())

    async def scenario() -> None:
        opened, prepared = await smaller(bench, source)
        assert prepared < opened / 2
        bench.cache.close()
        assert bench.cache.memory.used_bytes == 0

    run(scenario)


def test_after_a_restart_it_opens_so_at_once(tmp_path: Path) -> None:
    first, second = bench_at(tmp_path / "cache"), bench_at(tmp_path / "again")
    source = first.source("trees.onnx", trees())

    async def scenario() -> None:
        _, prepared = await smaller(first, source)
        first.cache.close()
        again = bench_at(tmp_path / "cache")
        entry, origin = await again.cache.acquire(source)
        assert origin == "disk"
        assert not entry.model.wasteful
        assert entry.size_bytes < 2 * prepared
        fresh, _ = await second.cache.acquire(second.source("trees.onnx", trees()))
        assert answers(entry) == answers(fresh)
        again.cache.close()
        second.cache.close()

    run(scenario)


@pytest.mark.parametrize("content", [b"", b"\0\0\0\0ORTM", b"\x18\0\0\0ORTM" + bytes(range(256)) * 40])
def test_what_cannot_be_opened_is_made_anew(tmp_path: Path, content: bytes) -> None:
    first = bench_at(tmp_path / "cache")
    source = first.source("trees.onnx", trees())

    async def scenario() -> None:
        await smaller(first, source)
        first.disk.prepare("acme", source.sha256, Runtimes().form("onnx"), content)
        first.cache.close()
        again = bench_at(tmp_path / "cache")
        await smaller(again, source)
        assert form("acme", source, again) not in (None, content)
        again.cache.close()

    run(scenario)


def test_of_another_version_it_is_not_even_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench_at(tmp_path / "cache")
    source = first.source("trees.onnx", trees())

    async def scenario() -> None:
        await smaller(first, source)
        first.cache.close()
        monkeypatch.setattr(Runtimes, "form", lambda _, model_format: f"{model_format}.onnxruntime-9")
        again = bench_at(tmp_path / "cache")
        opened, prepared = await smaller(again, source)
        assert prepared < opened / 2
        again.cache.close()

    run(scenario)


def test_each_tenant_has_its_own(tmp_path: Path) -> None:
    bench = bench_at(tmp_path / "cache")
    mine = bench.source("trees.onnx", trees())

    async def scenario() -> None:
        await smaller(bench, mine)
        assert form("acme", mine, bench) is not None
        assert form("globex", mine, bench) is None
        bench.cache.close()

    run(scenario)


def test_nobody_publishes_a_file_of_that_form() -> None:
    model = onnx.load_bytes(trees())
    content = model.prepare(trees())
    with pytest.raises(LoadError, match="own format"):
        onnx.load_bytes(content)
    onnx.load_prepared(content).close()


def test_a_graph_of_that_form_is_not_hidden_in_an_onnx_file() -> None:
    """ONNX Runtime looks at four bytes; a field that ONNX does not know may hold anything."""
    field = b"\x08\x08\xc2\x3e\x04ORTM"  # the version of the format, and the unknown field 1000
    hidden = field[1:] + trees()
    assert hidden[4:8] == b"ORTM"
    with pytest.raises(LoadError, match="own format"):
        onnx.load_bytes(hidden)
