"""The process that opens model files: when it starts, and what it does to predictions."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from artifacts.graphs import digest
from integration.predictor.processes import PredictorProcess, model
from integration.waiting import wait_for
from tenantry_predictor.runtimes.columns import columns_of
from tenantry_predictor.runtimes.description import Description
from tenantry_predictor.runtimes.skops_file import dump


def fork_servers(predictor: PredictorProcess) -> list[int]:
    """Processes that the predictor started to open files."""
    children = [
        pid for task in Path(f"/proc/{predictor.pid}/task").glob("*/children") for pid in _read(task).split()
    ]
    return [int(pid) for pid in children if "runtimes.fork_server" in _read(Path(f"/proc/{pid}/cmdline"))]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the thread or process ended meanwhile
        return ""


def wait_for_one(predictor: PredictorProcess) -> int:
    [server] = wait_for(
        lambda: found if len(found := fork_servers(predictor)) == 1 else None, 60.0, "one process opens files"
    )
    return server


@pytest.mark.parametrize(("formats", "started"), [(["onnx", "xgboost"], 1), (["onnx"], 0), ([], 0)])
def test_a_pool_that_names_such_formats_has_it_before_the_first_load(
    tmp_path: Path, formats: list[str], started: int
) -> None:
    flags = [part for name in formats for part in ("--trust-format", name)]
    with PredictorProcess(tmp_path, "--prefix", f"file://{tmp_path}/", *flags) as predictor:
        wait_for(lambda: len(fork_servers(predictor)) == started, 60.0, f"{started} such processes")


def test_it_has_the_priority_of_the_predictor_though_a_thread_of_less_starts_it(tmp_path: Path) -> None:
    path = tmp_path / "broken.skops"
    path.write_bytes(b"no skops file")
    with PredictorProcess(tmp_path, "--prefix", f"file://{tmp_path}/") as predictor:
        assert predictor.load(model("broken", f"file://{path}", model_format="skops")).status_code == 503
        server = wait_for_one(predictor)
        usual = os.getpriority(os.PRIO_PROCESS, predictor.pid)
        assert os.getpriority(os.PRIO_PROCESS, server) == usual


def test_what_was_converted_needs_it_no_more(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
    fitted = GradientBoostingRegressor(n_estimators=10).fit(table, table["a"])
    path = tmp_path / "model.skops"
    path.write_bytes(dump(fitted, Description.of(columns_of(fitted), table)))
    named = model("m", f"file://{path}", digest(path.read_bytes()), model_format="skops")
    flags = ("--prefix", f"file://{tmp_path}/", "--ready-after", "0")
    with PredictorProcess(tmp_path, *flags) as predictor:
        first = predictor.predict(named, table.to_dict("records"))
        assert (first.status_code, first.headers["Tenantry-Cache"]) == (200, "miss")
        wait_for_one(predictor)
    with PredictorProcess(tmp_path, *flags) as predictor:
        second = predictor.predict(named, table.to_dict("records"))
        assert (second.status_code, second.headers["Tenantry-Cache"]) == (200, "disk")
        assert second.json() == first.json()
        assert fork_servers(predictor) == []
