"""The process that opens model files: when it starts, and what it does to predictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.predictor.processes import PredictorProcess


def fork_servers(predictor: PredictorProcess) -> list[str]:
    """Command lines of the processes that the predictor started."""
    found = []
    for task in Path(f"/proc/{predictor.pid}/task").glob("*/children"):
        for pid in task.read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
            found.append(command)
    return found


@pytest.mark.parametrize(("formats", "started"), [(["onnx", "xgboost"], 1), (["onnx"], 0), ([], 0)])
def test_a_pool_that_names_such_formats_has_it_before_the_first_load(
    tmp_path: Path, formats: list[str], started: int
) -> None:
    flags = [part for name in formats for part in ("--trust-format", name)]
    with PredictorProcess(tmp_path, "--prefix", f"file://{tmp_path}/", *flags) as predictor:
        assert sum("runtimes.fork_server" in command for command in fork_servers(predictor)) == started
