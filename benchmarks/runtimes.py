"""What a warm model of each runtime takes of memory, and how long it takes to load.

    python benchmarks/runtimes.py [--models 10] [--out runtimes.json]

For each runtime one predictor process on one core, which opens models of 100 trees over four columns (custom:
as many numbers), each of other data: fetched from a folder and opened for the first time, and in a
new process from what the first left on disk. Memory is what the predictor and the processes below it have of
their own (`Private_Dirty`), per model; `measured` is what the predictor itself counts. Then, while further
models of the format are opened, how long predictions of one warm ONNX model take, one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor

from processes import free_port, memory_bytes, running
from tenantry_predictor.runtimes import lightgbm as lightgbm_files
from tenantry_predictor.runtimes import xgboost as xgboost_files
from tenantry_predictor.runtimes.columns import columns_of
from tenantry_predictor.runtimes.conversion import convert
from tenantry_predictor.runtimes.description import Description
from tenantry_predictor.runtimes.skops_file import dump

TREES = 100
ROWS = 1000
COLUMNS = ["amount", "hour", "weekday", "returning"]
CUSTOM = """
import numpy as np

class Table:
    def __init__(self, path):
        self.values = np.frombuffer(path.read_bytes())

    def predict(self, data):
        return self.values[: len(data)]
"""

Make = Callable[[int], bytes]


@dataclass
class Figures:
    """Milliseconds, and thousands of bytes a model."""

    runtime: str
    engine: str
    file: float
    process_first: float
    """The first load of the process, which starts and imports what the format needs."""
    first: float
    disk: float
    memory: float
    measured: float
    predict: float
    others_p50: float
    others_p99: float


def main() -> None:
    """Measure each runtime, print a table."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name:
        packages = Path(name) / "packages"
        _install_custom(packages)
        figures = [
            _measure(Path(name) / runtime.replace(" ", "-"), packages, runtime, kind, make, arguments.models)
            for runtime, (kind, make) in RUNTIMES.items()
        ]
    print(_table(figures))
    if arguments.out:
        arguments.out.write_text(json.dumps([asdict(one) for one in figures], indent=2))


def _data(seed: int) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(ROWS, 4)), columns=COLUMNS)
    return table, table["amount"] * 2 + table["hour"] ** 2 + rng.normal(size=ROWS)


def _fitted(model: Any, seed: int) -> tuple[Any, pd.DataFrame]:
    table, target = _data(seed)
    return model.fit(table, target), table


def _onnx(seed: int) -> bytes:
    model, table = _fitted(GradientBoostingRegressor(n_estimators=TREES), seed)
    return convert(model, columns_of(model), sample=table)


def _skops(model: Any, seed: int) -> bytes:
    fitted, table = _fitted(model, seed)
    return dump(fitted, Description.of(columns_of(fitted), table))


def _xgboost(seed: int, **parameters: Any) -> bytes:
    return xgboost_files.dump(
        *_fitted(xgboost.XGBRegressor(n_estimators=TREES, max_depth=3, n_jobs=1, **parameters), seed)
    )


def _lightgbm(seed: int, **parameters: Any) -> bytes:
    model = lightgbm.LGBMRegressor(n_estimators=TREES, num_leaves=8, n_jobs=1, verbosity=-1, **parameters)
    return lightgbm_files.dump(*_fitted(model, seed))


RUNTIMES: dict[str, tuple[str, Make]] = {
    "onnx": ("onnx", _onnx),
    "sklearn converted": ("skops", lambda s: _skops(GradientBoostingRegressor(n_estimators=TREES), s)),
    "sklearn native": ("skops", lambda s: _skops(HistGradientBoostingRegressor(max_leaf_nodes=8), s)),
    "xgboost converted": ("xgboost", _xgboost),
    "xgboost native": ("xgboost", lambda s: _xgboost(s, booster="dart")),
    "lightgbm converted": ("lightgbm", _lightgbm),
    "lightgbm native": ("lightgbm", lambda s: _lightgbm(s, linear_tree=True)),
    "custom": ("bench-table", lambda s: np.random.default_rng(s).normal(size=TREES * 15).tobytes()),
}


def _measure(folder: Path, packages: Path, runtime: str, kind: str, make: Make, count: int) -> Figures:
    folder.mkdir()
    paths = [folder / f"{seed}.model" for seed in range(2 * count + 1)]
    for seed, path in enumerate(paths):
        path.write_bytes(make(seed))
    beside = folder / "beside.onnx"
    beside.write_bytes(_onnx(-1 % 2**32))
    starter, models, more = paths[0], paths[1 : count + 1], paths[count + 1 :]
    with _predictor(folder, packages, kind) as predictor:
        process_first = predictor.load(starter, kind)["loadMilliseconds"]
        predictor.predict(starter, kind)
        before = predictor.private_bytes()
        loads = [predictor.load(path, kind) for path in models]
        taken = [predictor.predict(path, kind) for path in models for _ in range(20)]
        memory = (predictor.private_bytes() - before) / count
        predictor.load(beside, "onnx")
        with predictor.asking(beside) as latencies:
            for path in more:
                predictor.load(path, kind)
    with _predictor(folder, packages, kind) as predictor:
        predictor.load(starter, kind)
        disk = [predictor.load(path, kind)["loadMilliseconds"] for path in models]
    return Figures(
        runtime,
        loads[0]["engine"],
        round(statistics.mean(path.stat().st_size for path in models) / 1000, 1),
        process_first,
        round(statistics.median(load["loadMilliseconds"] for load in loads), 1),
        round(statistics.median(disk), 1),
        round(memory / 1000, 1),
        round(statistics.mean(load["sizeBytes"] for load in loads) / 1000, 1),
        round(statistics.median(taken), 3),
        round(statistics.median(latencies), 2),
        round(statistics.quantiles(latencies, n=100)[98], 2),
    )


class Predictor:
    """One process, asked as a router and the operator ask it."""

    def __init__(self, pid: int, url: str) -> None:
        self._pid = pid
        self._http = httpx.Client(base_url=url, timeout=120)

    def load(self, path: Path, kind: str) -> dict[str, Any]:
        body = {
            "reference": {"uri": f"file://{path}", "format": kind, "sha256": _digest(path)},
            "tenant": "t",
        }
        answer = self._http.post(f"/v2/repository/models/n.{path.stem}/load", json=body)
        report: dict[str, Any] = answer.raise_for_status().json()
        return report

    def predict(self, path: Path, kind: str) -> float:
        """Milliseconds that the predictor says it took."""
        fields = {
            "Tenantry-Model": f"n.{path.stem}",
            "Tenantry-Tenant": "t",
            "Tenantry-Version": _digest(path),
            "Tenantry-Artifact": f"file://{path}",
            "Tenantry-Format": kind,
        }
        row = dict.fromkeys(COLUMNS, 0.5)
        answer = self._http.post("/predict", headers=fields, json=[row]).raise_for_status()
        return float(answer.headers["server-timing"].rpartition("dur=")[2])

    @contextlib.contextmanager
    def asking(self, path: Path) -> Iterator[list[float]]:
        """Milliseconds of whole requests, one after the other, while the block runs."""
        latencies: list[float] = []
        ended = threading.Event()

        def ask() -> None:
            while not ended.is_set():
                begun = time.perf_counter()
                self.predict(path, "onnx")
                latencies.append((time.perf_counter() - begun) * 1000)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield latencies
        finally:
            ended.set()
            thread.join()

    def private_bytes(self) -> int:
        """Of the process and of all below it."""
        return memory_bytes([self._pid], "Private_Dirty")


@contextlib.contextmanager
def _predictor(folder: Path, packages: Path, kind: str) -> Iterator[Predictor]:
    port = free_port()
    os.environ["PYTHONPATH"] = str(packages)
    command = [sys.executable, "-m", "tenantry_predictor", "--slot", "bench-0", "--port", str(port)]
    command += ["--cache-dir", str(folder / "cache"), "--prefix", f"file://{folder}/", "--log-level", "error"]
    command += ["--trust-format", kind, "--trust-format", "onnx"]
    with running(command, port, core=0) as process:
        yield Predictor(process.pid, f"http://127.0.0.1:{port}")


def _install_custom(packages: Path) -> None:
    information = packages / "bench_table-1.0.dist-info"
    information.mkdir(parents=True)
    (packages / "bench_table.py").write_text(CUSTOM)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-table\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[tenantry.models]\nbench-table = bench_table:Table\n")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _table(figures: list[Figures]) -> str:
    lines = [
        f"{'':20}{'engine':>9}{'file kB':>9}{'1st of process ms':>19}{'load ms':>9}{'from disk ms':>14}"
        f"{'memory kB':>11}{'measured kB':>13}{'predict ms':>12}{'warm one beside: p50, p99 ms':>30}"
    ]
    lines += [
        f"{one.runtime:20}{one.engine:>9}{one.file:9.0f}{one.process_first:19.0f}{one.first:9.1f}{one.disk:14.1f}"
        f"{one.memory:11.0f}{one.measured:13.0f}{one.predict:12.3f}{one.others_p50:21.2f}{one.others_p99:9.2f}"
        for one in figures
    ]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
