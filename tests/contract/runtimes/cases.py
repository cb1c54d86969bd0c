"""One model of every runtime, and what the library that trained it answers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tenantry_predictor.runtimes import lightgbm as lightgbm_files
from tenantry_predictor.runtimes import xgboost as xgboost_files
from tenantry_predictor.runtimes.columns import columns_of
from tenantry_predictor.runtimes.conversion import convert
from tenantry_predictor.runtimes.description import Description
from tenantry_predictor.runtimes.skops_file import dump

_rng = np.random.default_rng(3)
ROWS = 300
TABLE = pd.DataFrame({"hour": _rng.integers(0, 24, ROWS).astype(float), "amount": _rng.normal(50, 9, ROWS)})
TABLE.loc[::11, "amount"] = np.nan
TARGET = TABLE["hour"] * 2 + TABLE["amount"].fillna(0) + _rng.normal(size=ROWS)
LATE = np.where(TARGET.median() < TARGET, "late", "on time")
IS_LATE = (TARGET.median() < TARGET).astype(int)

CUSTOM_MODULE = '''
import joblib

class Pickled:
    """What a predictor never opens by itself; a package that the platform installs may."""

    def __init__(self, path):
        self.model, self.sample = joblib.load(path)

    def predict(self, data):
        return self.model.predict(data)

    def close(self):
        self.model = None
'''


CLASSIFIERS = tuple(
    f"{library} {how}" for library in ("sklearn", "xgboost", "lightgbm") for how in ("converted", "native")
)
REGRESSORS = ("onnx", "onnx by numpy", *CLASSIFIERS, "custom")


@dataclass(frozen=True)
class Case:
    """`content` in the format, served by `engine`, answers `expected` for TABLE, as its first output."""

    format: str
    engine: str
    content: bytes
    expected: npt.NDArray[Any]
    probabilities: npt.NDArray[Any] | None = None


@cache
def regressors() -> dict[str, Case]:
    boosting = HistGradientBoostingRegressor(max_iter=60).fit(TABLE, TARGET)
    forest = RandomForestRegressor(30, random_state=0).fit(TABLE, TARGET)
    xgb = xgboost.XGBRegressor(n_jobs=1, n_estimators=60).fit(TABLE, TARGET)
    dart = xgboost.XGBRegressor(n_jobs=1, n_estimators=60, booster="dart").fit(TABLE, TARGET)
    lgb = _lightgbm(lightgbm.LGBMRegressor()).fit(TABLE, TARGET)
    linear = _lightgbm(lightgbm.LGBMRegressor(linear_tree=True)).fit(TABLE.fillna(0), TARGET)
    columns = columns_of(forest)
    scaled = make_pipeline(SimpleImputer(), StandardScaler(), LinearRegression()).fit(TABLE, TARGET)
    return {
        "onnx": Case("onnx", "onnx", convert(forest, columns, sample=TABLE), forest.predict(TABLE)),
        "onnx by numpy": Case("onnx", "onnx", convert(scaled, columns, sample=TABLE), scaled.predict(TABLE)),
        "sklearn converted": Case("skops", "onnx", _skops(forest), forest.predict(TABLE)),
        "sklearn native": Case("skops", "sklearn", _skops(boosting), boosting.predict(TABLE)),
        "xgboost converted": Case("xgboost", "onnx", xgboost_files.dump(xgb, TABLE), xgb.predict(TABLE)),
        "xgboost native": Case("xgboost", "xgboost", xgboost_files.dump(dart, TABLE), dart.predict(TABLE)),
        "lightgbm converted": Case("lightgbm", "onnx", lightgbm_files.dump(lgb, TABLE), lgb.predict(TABLE)),
        "lightgbm native": Case(
            "lightgbm", "lightgbm", lightgbm_files.dump(linear, TABLE), linear.predict(TABLE)
        ),
        "custom": Case("contract-pickled", "custom", _pickled(boosting), boosting.predict(TABLE)),
    }


@cache
def classifiers() -> dict[str, Case]:
    boosting = HistGradientBoostingClassifier(max_iter=30).fit(TABLE, LATE)
    forest = RandomForestClassifier(30, random_state=0).fit(TABLE, LATE)
    xgb = xgboost.XGBClassifier(n_jobs=1, n_estimators=60).fit(TABLE, IS_LATE)
    dart = xgboost.XGBClassifier(n_jobs=1, n_estimators=60, booster="dart").fit(TABLE, IS_LATE)
    lgb = _lightgbm(lightgbm.LGBMClassifier()).fit(TABLE, LATE)
    bagged = _lightgbm(lightgbm.LGBMClassifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6))
    bagged.fit(TABLE, LATE)
    made = {
        "sklearn converted": ("skops", "onnx", _skops(forest), forest),
        "sklearn native": ("skops", "sklearn", _skops(boosting), boosting),
        "xgboost converted": ("xgboost", "onnx", xgboost_files.dump(xgb, TABLE), xgb),
        "xgboost native": ("xgboost", "xgboost", xgboost_files.dump(dart, TABLE), dart),
        "lightgbm converted": ("lightgbm", "onnx", lightgbm_files.dump(lgb, TABLE), lgb),
        "lightgbm native": ("lightgbm", "lightgbm", lightgbm_files.dump(bagged, TABLE), bagged),
    }
    return {
        name: Case(model_format, engine, content, model.predict(TABLE), model.predict_proba(TABLE))
        for name, (model_format, engine, content, model) in made.items()
    }


def install_custom_format(folder: Path) -> None:
    """What pip leaves behind of a package with an entry point."""
    (folder / "contract_pickled.py").write_text(CUSTOM_MODULE)
    information = folder / "contract_pickled-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: contract-pickled\nVersion: 1.0\n")
    entry = "[tenantry.models]\ncontract-pickled = contract_pickled:Pickled\n"
    (information / "entry_points.txt").write_text(entry)


def _lightgbm(model: Any) -> Any:
    return model.set_params(n_estimators=60, min_child_samples=5, verbosity=-1, n_jobs=1)


def _skops(model: Any) -> bytes:
    return dump(model, Description.of(columns_of(model, TABLE), TABLE))


def _pickled(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump((model, TABLE.head(1)), buffer)
    return buffer.getvalue()
