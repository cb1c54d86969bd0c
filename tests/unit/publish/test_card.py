"""The model card beside the artifact."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tenantry import Published, PublishError, publish

_rng = np.random.default_rng(3)
ROWS = pd.DataFrame({"city": ["oslo", "rome"] * 20, "size": _rng.normal(size=40)})
PRICE = ROWS["size"] * 3
MODEL = make_pipeline(
    make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"), Ridge()
).fit(ROWS, PRICE)


def published(tmp_path: Path, model: Any = MODEL, **more: Any) -> Published:
    return publish(model, **{"tenant": "acme", "to": f"file://{tmp_path}", "sample": ROWS, **more})


def path_of(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def card_of(result: Published) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(path_of(result.card_uri).read_bytes())
    return card


def test_it_tells_what_the_artifact_takes_and_what_it_was_made_with(tmp_path: Path) -> None:
    result = published(tmp_path, metrics={"rmse": np.float32(0.5), "rows": 40})
    card = card_of(result)
    assert path_of(result.card_uri) == path_of(result.uri).with_suffix(".card.json")
    assert card["inputs"] == [{"name": "city", "type": "string"}, {"name": "size", "type": "number"}]
    assert card["sample"] == [{"city": "oslo", "size": ROWS["size"][0]}]
    assert card["libraries"]["scikit-learn"] == sklearn.__version__
    assert card["libraries"]["python"] == platform.python_version()
    assert card["metrics"] == {"rmse": 0.5, "rows": 40.0}
    assert (card["tenant"], card["uri"], card["sha256"], card["format"]) == (
        *("acme", result.uri, result.sha256),
        "onnx",
    )
    assert card["size"] == path_of(result.uri).stat().st_size
    assert result.parity is not None
    assert card["parity"]["rows"] == result.parity.rows
    assert card["parity"]["agrees"] is True


def test_the_same_again_leaves_it_alone_and_other_metrics_keep_its_date(tmp_path: Path) -> None:
    result = published(tmp_path, metrics={"rmse": 1.0})
    path = path_of(result.card_uri)
    path.write_bytes(path.read_bytes().replace(card_of(result)["created"].encode(), b"2020-01-01T00:00:00Z"))
    before = path.stat()
    published(tmp_path, metrics={"rmse": 1.0})
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)

    published(tmp_path, metrics={"rmse": 2.0})
    assert card_of(result)["metrics"] == {"rmse": 2.0}
    assert card_of(result)["created"] == "2020-01-01T00:00:00Z"


@pytest.mark.parametrize("content", [b"", b"{", b'{"tenant": "acme"}', b"[]"])
def test_a_card_that_is_none_is_written_anew(tmp_path: Path, content: bytes) -> None:
    result = published(tmp_path)
    path_of(result.card_uri).write_bytes(content)
    published(tmp_path)
    assert card_of(result)["sha256"] == result.sha256


def test_a_card_that_cannot_be_written_is_told_and_the_artifact_is_there(tmp_path: Path) -> None:
    result = published(tmp_path)
    path_of(result.card_uri).unlink()
    path_of(result.card_uri).mkdir()
    with pytest.raises(PublishError, match=r"\.card\.json cannot be written"):
        published(tmp_path)
    path_of(result.card_uri).rmdir()
    assert published(tmp_path) == result
    assert card_of(result)["sha256"] == result.sha256


def test_an_artifact_that_was_damaged_in_place_is_whole_again(tmp_path: Path) -> None:
    result = published(tmp_path)
    content = path_of(result.uri).read_bytes()
    path_of(result.uri).write_bytes(content[:100])
    published(tmp_path)
    assert path_of(result.uri).read_bytes() == content


@pytest.mark.parametrize(
    ("metrics", "sentence"),
    [
        ({"rmse": "low"}, "the metric 'rmse' is 'low': give a number"),
        ({"rmse": float("nan")}, "leave out what could not be measured"),
        ({"rmse": None}, "give a number"),
    ],
)
def test_metrics_are_numbers(tmp_path: Path, metrics: Any, sentence: str) -> None:
    with pytest.raises(PublishError, match=sentence):
        published(tmp_path, metrics=metrics)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sample", "sentence"),
    [
        ([{"city": "oslo", "size": 1.0}], "the sample is a list: give a pandas DataFrame"),
        (ROWS.head(0), "holds no row"),
        (ROWS[["size"]], "lacks the column 'city'"),
    ],
)
def test_the_sample_is_rows_of_the_model(tmp_path: Path, sample: Any, sentence: str) -> None:
    with pytest.raises(PublishError, match=sentence):
        published(tmp_path, sample=sample)
    assert list(tmp_path.iterdir()) == []
