"""Models of XGBoost and LightGBM: what is published answers as the model does, in either format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from tenantry import Published, PublishError, publish
from tenantry_predictor.runtimes.registry import Runtimes
from tenantry_predictor.tables import TableReader

_rng = np.random.default_rng(3)
ROWS = pd.DataFrame(_rng.normal(size=(200, 3)), columns=["size", "age", "rooms"])
PRICE = ROWS["size"] * 3 - ROWS["age"]
SOLD = (PRICE > 0).astype(int)
WORDS = np.where(PRICE > 0, "sold", "kept")
CITIES = ROWS.assign(city=pd.Categorical(_rng.choice(["oslo", "rome"], 200)))
CITY_PRICE = PRICE + 9 * (CITIES["city"] == "oslo")
_LGBM: dict[str, Any] = {"n_estimators": 8, "verbose": -1}


@pytest.fixture(scope="module")
def runtimes() -> Iterator[Runtimes]:
    runtimes = Runtimes()
    yield runtimes
    runtimes.close()


def published(tmp_path: Path, model: Any, sample: pd.DataFrame | None) -> Published:
    return publish(model, tenant="acme", to=f"file://{tmp_path}/models", sample=sample)


def served(runtimes: Runtimes, result: Published, rows: pd.DataFrame) -> Any:
    """What a predictor answers to the rows: the first output."""
    model = runtimes.open(result.format, Path(result.uri.removeprefix("file://")))
    try:
        given = TableReader(model.inputs, model.columns).read(rows.to_json(orient="records").encode())
        name = model.outputs[0].name
        answer = model.predict(given, [name])[name]
    finally:
        model.close()
    return answer[:, 0] if answer.ndim == 2 else answer


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBRegressor(n_estimators=8).fit(ROWS, PRICE),
        xgboost.XGBClassifier(n_estimators=8).fit(ROWS, SOLD),
        lightgbm.LGBMRegressor(**_LGBM).fit(ROWS, PRICE),
        lightgbm.LGBMClassifier(**_LGBM).fit(ROWS, WORDS),
        xgboost.train({}, xgboost.DMatrix(ROWS, PRICE), 8),
        lightgbm.train({"verbose": -1}, lightgbm.Dataset(ROWS, PRICE), 8),
    ],
    ids=lambda model: f"{type(model).__module__.partition('.')[0]} {type(model).__name__}",
)
def test_what_agrees_is_published_as_a_graph(tmp_path: Path, runtimes: Runtimes, model: Any) -> None:
    result = published(tmp_path, model, ROWS)
    assert result.format == "onnx"
    assert result.uri.endswith(f"/{result.sha256}.onnx")
    assert result.parity is not None
    assert result.parity.agrees
    given = xgboost.DMatrix(ROWS) if isinstance(model, xgboost.Booster) else ROWS
    expected, answers = np.asarray(model.predict(given)), served(runtimes, result, ROWS)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-5)
    else:
        assert answers.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("model", "model_format", "suffix"),
    [
        (
            xgboost.XGBRegressor(n_estimators=8, enable_categorical=True).fit(CITIES, CITY_PRICE),
            *("xgboost", ".ubj"),
        ),
        (lightgbm.LGBMRegressor(**_LGBM).fit(CITIES, CITY_PRICE), "lightgbm", ".lgb.txt"),
    ],
    ids=["xgboost", "lightgbm"],
)
def test_what_has_no_graph_is_published_as_it_is_and_says_so(
    tmp_path: Path, runtimes: Runtimes, model: Any, model_format: str, suffix: str
) -> None:
    result = published(tmp_path, model, CITIES)
    assert (result.format, result.uri.endswith(suffix)) == (model_format, True)
    assert result.note.startswith(f"published as {model_format}: ")
    answers = served(runtimes, result, CITIES.astype({"city": object}))
    np.testing.assert_allclose(answers, model.predict(CITIES), rtol=1e-4, atol=1e-5)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = lightgbm.LGBMRegressor(**_LGBM).fit(CITIES, CITY_PRICE)
    assert published(tmp_path, model, CITIES) == published(tmp_path, model, CITIES)


@pytest.mark.parametrize("model", [xgboost.XGBRegressor(), lightgbm.LGBMClassifier()])
def test_what_is_not_fitted_is_a_sentence(tmp_path: Path, model: Any) -> None:
    with pytest.raises(PublishError, match=r"(?i)need to call fit"):
        published(tmp_path, model, ROWS)


def test_an_estimator_that_its_file_does_not_tell_of_is_refused(tmp_path: Path) -> None:
    class Rounded(xgboost.XGBRegressor):
        def predict(self, *arguments: Any, **more: Any) -> Any:
            return np.round(super().predict(*arguments, **more) + 100)

    with pytest.raises(PublishError, match=r"Rounded answers .* otherwise than what its file keeps of it"):
        published(tmp_path, Rounded(n_estimators=3).fit(ROWS, PRICE), ROWS)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["model.ubj", "model.xgb.json", "model.lgb.txt"])
def test_a_file_of_the_library_is_a_model(tmp_path: Path, runtimes: Runtimes, name: str) -> None:
    path = tmp_path / name
    if "lgb" in name:
        lightgbm.train({"verbose": -1}, lightgbm.Dataset(ROWS, PRICE), 8).save_model(path)
    else:
        xgboost.train({}, xgboost.DMatrix(ROWS, PRICE), 8).save_model(path)
    result = published(tmp_path, path, ROWS)
    assert np.corrcoef(served(runtimes, result, ROWS), PRICE)[0, 1] > 0.9


@pytest.mark.parametrize("name", ["model.ubj", "model.xgb.json", "model.lgb.txt"])
@pytest.mark.parametrize("content", [b"", b"{}", b"nothing of the kind", b"\xff\xfe"])
def test_a_file_that_is_none_is_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PublishError, match=r"is no (XGBoost|LightGBM) model"):
        published(tmp_path, tmp_path / name, ROWS)
