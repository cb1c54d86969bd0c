"""ONNX graphs that somebody else made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from integration import artifacts
from tenantry import Published, PublishError, publish

ROWS = pd.DataFrame({"size": [1.0, 2.0, 3.0], "age": [5.0, 1.0, 2.0]})
FOREIGN = to_onnx(
    LinearRegression().fit(ROWS.to_numpy(), [1.0, 2.0, 3.0]), ROWS.to_numpy().astype(np.float32)
)


def published(tmp_path: Path, model: Any, sample: pd.DataFrame | None = None) -> Published:
    return publish(model, tenant="acme", to=f"file://{tmp_path}/models", sample=sample)


def content_of(result: Published) -> bytes:
    return Path(result.uri.removeprefix("file://")).read_bytes()


def metadata_of(result: Published) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.ModelProto.FromString(content_of(result)).metadata_props}


def test_bytes_a_file_and_a_proto_are_the_same_model(tmp_path: Path) -> None:
    content = FOREIGN.SerializeToString(deterministic=True)
    (tmp_path / "model.onnx").write_bytes(content)
    given: tuple[Any, ...] = (content, tmp_path / "model.onnx", str(tmp_path / "model.onnx"), FOREIGN)
    assert {content_of(published(tmp_path, model)) for model in given} == {content}


def test_with_a_sample_it_knows_its_columns_and_a_row(tmp_path: Path) -> None:
    metadata = metadata_of(published(tmp_path, FOREIGN, ROWS))
    assert json.loads(metadata["tenantry.columns"]) == ["size", "age"]
    assert json.loads(metadata["tenantry.sample"]) == [{"size": 1.0, "age": 5.0}]


def test_its_own_sample_stays(tmp_path: Path) -> None:
    content = artifacts.linear(2.0, 0.0, sample=[[7.0]])
    assert content_of(published(tmp_path, content, pd.DataFrame({"x": [1.0]}))) == content


def test_the_card_names_tensors_where_there_are_no_columns(tmp_path: Path) -> None:
    result = published(tmp_path, FOREIGN)
    card = json.loads(Path(result.card_uri.removeprefix("file://")).read_bytes())
    assert card["inputs"] == [{"name": "X", "type": "FP32", "shape": [-1, 2]}]
    assert card["libraries"]["skl2onnx"]
    assert (card["sample"], card["parity"]) == (None, None)


@pytest.mark.parametrize(
    ("sample", "sentence"),
    [
        (pd.DataFrame({"size": [1.0]}), "does not answer the sample: Row 0 has 1 values|expected 2"),
        (pd.DataFrame({"size": ["big"], "age": ["old"]}), "does not answer the sample"),
    ],
)
def test_a_sample_that_it_does_not_answer_is_a_sentence(
    tmp_path: Path, sample: pd.DataFrame, sentence: str
) -> None:
    with pytest.raises(PublishError, match=sentence):
        published(tmp_path, FOREIGN, sample)
    assert not (tmp_path / "models").exists()
