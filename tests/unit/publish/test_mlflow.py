"""Folders as MLflow itself saves them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
import yaml
from skl2onnx import to_onnx
from sklearn.linear_model import Ridge

from shell import Shell
from tenantry import Published, PublishError, publish

_rng = np.random.default_rng(3)
ROWS = pd.DataFrame(_rng.normal(size=(80, 2)), columns=["size", "age"])
PRICE = ROWS["size"] * 3 - ROWS["age"]
RIDGE = Ridge().fit(ROWS, PRICE)
XGB = xgboost.XGBRegressor(n_estimators=3).fit(ROWS, PRICE)
LGBM = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(ROWS, PRICE)
GRAPH = to_onnx(RIDGE, ROWS.to_numpy(np.float32))
_PLAIN: dict[str, Any] = {"pip_requirements": []}


def _save(flavor: str, **more: Any) -> Callable[[Any, Path], None]:
    def save(model: Any, folder: Path) -> None:
        import_module(f"mlflow.{flavor}").save_model(model, folder, **_PLAIN, **more)

    return save


KINDS: dict[str, tuple[Callable[[Any, Path], None], Any]] = {
    "sklearn in skops": (_save("sklearn"), RIDGE),
    "sklearn in a pickle": (_save("sklearn", serialization_format="cloudpickle"), RIDGE),
    "xgboost estimator": (_save("xgboost"), XGB),
    "xgboost booster": (_save("xgboost"), XGB.get_booster()),
    "lightgbm estimator": (_save("lightgbm"), LGBM),
    "lightgbm booster": (_save("lightgbm"), LGBM.booster_),
    "onnx": (_save("onnx"), GRAPH),
}


def published(tmp_path: Path, model: Any, sample: pd.DataFrame | None = ROWS) -> Published:
    return publish(model, tenant="acme", to=f"file://{tmp_path}/models", sample=sample)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_published_like_the_model_that_was_saved(tmp_path: Path, kind: str) -> None:
    save, model = KINDS[kind]
    save(model, tmp_path / "saved")
    assert published(tmp_path, tmp_path / "saved").sha256 == published(tmp_path, model).sha256


@pytest.fixture(scope="module")
def ridge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow") / "ridge"
    _save("sklearn", input_example=ROWS.head(2))(RIDGE, folder)
    return folder


def test_its_input_example_is_the_sample(tmp_path: Path, ridge: Path) -> None:
    own = published(tmp_path, ridge, None)
    card = json.loads(Path(own.card_uri.removeprefix("file://")).read_bytes())
    assert card["sample"] == [{"size": ROWS["size"][0], "age": ROWS["age"][0]}]
    assert own.sha256 != published(tmp_path, ridge, ROWS.tail(3)).sha256, "the caller's comes first"


def test_the_command_takes_it(tenantry: Shell, ridge: Path) -> None:
    outcome = tenantry("publish", ridge, "--tenant", "acme", "--metric", "rmse=3.5", "--apply")
    assert (outcome.code, outcome.out) == (0, "tenantmodel.tenantry.dev/acme created\n")
    uri = yaml.safe_load(tenantry("get", "tm", "acme", "-o", "yaml").out)["spec"]["artifact"]["uri"]
    card = Path(uri.removeprefix("file://")).with_suffix(".card.json")
    assert json.loads(card.read_bytes())["metrics"] == {"rmse": 3.5}


@pytest.mark.parametrize("metric", ["rmse", "rmse=low", "=", ""])
def test_a_metric_that_is_none_is_a_sentence(tenantry: Shell, ridge: Path, metric: str) -> None:
    outcome = tenantry("publish", ridge, "--tenant", "acme", "--metric", metric)
    assert outcome.code == 1
    assert "is no NAME=NUMBER" in outcome.err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: (folder / "MLmodel").unlink(), "it has no MLmodel"),
        (lambda folder: (folder / "MLmodel").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "MLmodel").write_text("- 1"), "is no description of a model"),
        (
            lambda folder: (folder / "MLmodel").write_text("flavors: {prophet: {}}"),
            "a model of prophet; onnx,",
        ),
        (lambda folder: (folder / "MLmodel").write_text("flavors: {sklearn: {}}"), "does not say where"),
        (lambda folder: (folder / "model.skops").unlink(), "lacks a file of the model"),
        (lambda folder: (folder / "model.skops").write_bytes(b"x"), "cannot be read"),
        (lambda folder: (folder / "input_example.json").write_text("{"), "input example cannot be read"),
    ],
)
def test_a_folder_that_is_none_is_a_sentence(
    tmp_path: Path, ridge: Path, change: Callable[[Path], None], sentence: str
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(ridge, folder)
    change(folder)
    with pytest.raises(PublishError, match=sentence):
        published(tmp_path, folder, None)
