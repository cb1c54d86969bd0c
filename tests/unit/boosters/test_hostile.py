"""Files made to harm: whatever the libraries do with them happens in a process of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tenantry_predictor.errors import LoadError
from tenantry_predictor.runtimes import lightgbm as lightgbm_files
from tenantry_predictor.runtimes import xgboost as xgboost_files
from tenantry_predictor.runtimes.registry import Runtimes
from unit.boosters import test_lightgbm, test_xgboost


@pytest.fixture(scope="module")
def runtimes() -> Iterator[Runtimes]:
    made = Runtimes()
    yield made
    made.close()


def xgboost_tree(**changes: int) -> bytes:
    """A model whose first tree's root says something else."""
    document = json.loads(bytes(test_xgboost.trained(test_xgboost.TARGET).save_raw("json")))
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    for name, value in changes.items():
        tree[name][0] = value
    return json.dumps(document).encode()


def lightgbm_tree(field: str, value: int) -> bytes:
    """A model whose first tree's root says something else, with the sizes of its parts put right."""
    text = lightgbm_files.dump(test_lightgbm.trained(test_lightgbm.TARGET)).decode()
    changed = re.sub(rf"\n{field}=\S+", f"\n{field}={value}", text, count=1)
    sizes = re.findall(r"\ntree_sizes=(\d+)", changed)
    first = int(sizes[0]) + len(changed) - len(text)
    return changed.replace(f"tree_sizes={sizes[0]}", f"tree_sizes={first}", 1).encode()


@pytest.mark.parametrize(
    ("model_format", "content"),
    [
        ("xgboost", xgboost_tree(split_indices=900)),
        ("xgboost", xgboost_tree(left_children=7_000_000)),
        ("xgboost", xgboost_tree(right_children=-5)),
        ("lightgbm", lightgbm_tree("split_feature", 900)),
        ("lightgbm", lightgbm_tree("left_child", 7_000_000)),
        ("lightgbm", lightgbm_tree("num_leaves", 2_000_000_000)),
        ("lightgbm", lightgbm_tree("tree_sizes", 5)),
    ],
)
def test_a_file_that_points_outside_of_itself_is_refused(
    runtimes: Runtimes, tmp_path: Path, model_format: str, content: bytes
) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(content)
    with pytest.raises(LoadError) as refused:
        runtimes.open(model_format, path)
    assert refused.value.reason == "LoadFailed"
    assert "Stack trace" not in refused.value.message


@pytest.mark.parametrize("seed", range(3))
def test_damaged_bytes_end_no_process_of_ours(runtimes: Runtimes, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for model_format, content in (
        ("xgboost", xgboost_files.dump(test_xgboost.trained(test_xgboost.TARGET))),
        ("lightgbm", lightgbm_files.dump(test_lightgbm.trained(test_lightgbm.TARGET))),
    ):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 30):
            damaged[place] = rng.integers(0, 256)
        path = tmp_path / model_format
        path.write_bytes(damaged)
        try:
            model = runtimes.open(model_format, path)
        except LoadError as refused:
            assert refused.reason == "LoadFailed"  # noqa: PT017 - either is right
        else:
            model.close()
