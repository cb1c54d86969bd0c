"""Each target on its seeds, on seeds cut and spliced, and led by coverage for a fixed number of runs."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS, seeds

RUNS = {"slice_files": 300, "onnx_files": 1_000}
"""Others cost microseconds a run."""


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds(name: str) -> None:
    for seed in seeds(name):
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_cut_and_spliced(name: str) -> None:
    known = list(seeds(name))

    @given(st.sampled_from(known), st.sampled_from(known), st.binary(max_size=8), st.data())
    @settings(max_examples=100, derandomize=True, database=None)
    def holds(head: bytes, tail: bytes, between: bytes, data: st.DataObject) -> None:
        end = data.draw(st.integers(0, len(head)))
        start = data.draw(st.integers(0, len(tail)))
        TARGETS[name](head[:end] + between + tail[start:])

    holds()


@pytest.mark.parametrize("name", TARGETS)
def test_led_by_coverage(name: str, tmp_path: Path) -> None:
    if find_spec("atheris") is None:
        pytest.skip("atheris has no wheel for this Python")
    found = tmp_path / "found"
    found.mkdir()
    runs = RUNS.get(name, 5_000)
    options = [f"-runs={runs}", "-seed=1", "-timeout=20", f"-artifact_prefix={tmp_path}/"]
    run = subprocess.run(
        [sys.executable, "-m", "fuzz", name, *options, str(found)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert f"Done {runs} runs" in run.stderr
