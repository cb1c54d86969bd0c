"""Memory stays within its budget, however many models come by."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifacts import graphs
from integration.predictor.processes import PredictorProcess, model

MODELS = 2000
RESIDENT = 100
PADDING = 60_000


@pytest.mark.slow
def test_two_thousand_models_over_a_cache_of_a_hundred(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    asked = []
    for i in range(MODELS):
        data = graphs.linear([i, 1], padding=PADDING + 8 * (i % 1000))
        (folder / f"{i}.onnx").write_bytes(data)
        uri = f"file://{folder}/{i}.onnx"
        asked.append(model(f"m{i}", uri, graphs.digest(data), tenant=f"t{i}"))
    with PredictorProcess(tmp_path / "sizing", "--prefix", f"file://{folder}/") as predictor:
        size = predictor.load(asked[-1]).json()["sizeBytes"]
    budget = size * RESIDENT
    flags = ["--prefix", f"file://{folder}/", "--cache-memory", str(budget), "--cache-disk", str(50 << 20)]

    def predict(i: int) -> None:
        assert predictor.predict(asked[i], [[1, 1]]).json() == [i + 1.0]

    with PredictorProcess(tmp_path / "slot", *flags) as predictor, ThreadPoolExecutor(4) as threads:
        list(threads.map(predict, range(RESIDENT)))
        full = predictor.resident_bytes()
        order = list(range(MODELS))
        random.Random(1).shuffle(order)
        list(threads.map(predict, order))
        grown = predictor.resident_bytes() - full
        report = predictor.slot()
        assert report["usedBytes"] <= budget
        # Those that were made smaller since they were opened leave room for others, down to their weights.
        assert 0.8 * RESIDENT <= len(report["models"]) <= budget / PADDING, "they are measured one by one"
        left = ("tenantry_predictor_evictions_total", "tenantry_predictor_unadmitted_total")
        assert sum(map(predictor.metric, left)) >= MODELS - 2 * RESIDENT
        print(f"{size} bytes a model; RSS full {full}, grown by {grown} over {MODELS} loads")
        # What allocators keep levels off at 30 MB; a leak of one file a load would be four times that.
        assert grown < budget + (32 << 20)
        on_disk = sum(
            path.stat().st_size for path in (predictor.cache / "models").rglob("*") if path.is_file()
        )
        assert on_disk <= 50 << 20
