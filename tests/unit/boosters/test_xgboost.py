"""XGBoost files: what is in them, what they answer, and which of them have a graph that agrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_predictor.runtimes import xgboost as files
from tenantry_predictor.runtimes.columns import UnknownColumns
from tenantry_predictor.runtimes.conversion import NotConvertible
from tenantry_predictor.runtimes.parity import convert_checked
from tenantry_predictor.runtimes.readers import BadArtifact

_rng = np.random.default_rng(5)
TABLE = pd.DataFrame(_rng.normal(size=(200, 3)), columns=["air time", "hour", "fare"])
TABLE.loc[::7, "hour"] = np.nan
TARGET = TABLE["air time"] + TABLE["hour"].fillna(2)
CLASSES = pd.qcut(TARGET, 3, labels=False)
CARRIERS = TABLE.assign(
    carrier=pd.Categorical(_rng.choice(["AA", "UA", "B6"], 200)),
    seats=pd.Categorical(_rng.choice([3, 5], 200)),
)


def trained(target: Any, group: int | None = None, **parameters: Any) -> xgboost.Booster:
    matrix = xgboost.DMatrix(TABLE, target)
    if group:
        matrix.set_group([group] * (len(TABLE) // group))
    return xgboost.train({"nthread": 1, **parameters}, matrix, 12)


def graph_of(content: bytes) -> bytes:
    model, description = files.read(content)
    return convert_checked(model, description.columns, description.frame(), files).onnx


@pytest.mark.parametrize(
    ("objective", "target", "group"),
    [
        ("reg:squarederror", TARGET, None),
        ("reg:absoluteerror", TARGET, None),
        ("count:poisson", CLASSES, None),
        ("rank:ndcg", CLASSES, 20),
        ("rank:pairwise", CLASSES, 20),
    ],
)
def test_regressors_and_rankers_have_graphs_that_agree(
    objective: str, target: Any, group: int | None
) -> None:
    booster = trained(target, group, objective=objective)
    [answer] = onnxruntime.InferenceSession(graph_of(files.dump(booster, TABLE))).run(
        ["variable"], {"input": TABLE.to_numpy(np.float32)}
    )
    np.testing.assert_allclose(answer[:, 0], booster.predict(xgboost.DMatrix(TABLE)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_several_classes_are_a_label_and_probabilities(objective: str) -> None:
    booster = trained(CLASSES, objective=objective, num_class=3)
    label, probabilities = onnxruntime.InferenceSession(graph_of(files.dump(booster))).run(
        ["label", "probabilities"], {"input": TABLE.to_numpy(np.float32)}
    )
    assert label.dtype == np.int64
    assert probabilities.shape == (200, 3)
    softmax = trained(CLASSES, objective="multi:softmax", num_class=3).predict(xgboost.DMatrix(TABLE))
    assert label.tolist() == softmax.tolist()


@pytest.mark.parametrize(
    "parameters",
    [
        {"booster": "dart", "rate_drop": 0.3},
        {"booster": "gblinear"},
        {"objective": "reg:logistic"},
        {"objective": "binary:hinge"},
        {"objective": "binary:logitraw"},
    ],
)
def test_what_has_no_graph_that_agrees_answers_as_it_is(parameters: dict[str, Any]) -> None:
    booster = trained((TARGET > 0).astype(int), **parameters)
    model, description = files.read(files.dump(booster, TABLE))
    with pytest.raises(NotConvertible):
        convert_checked(model, description.columns, description.frame(), files)
    np.testing.assert_array_equal(model.predict(TABLE), booster.predict(xgboost.DMatrix(TABLE)))


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
def test_files_that_xgboost_wrote_itself_are_read(tmp_path: Path, suffix: str) -> None:
    stopped = xgboost.XGBClassifier(n_estimators=40, early_stopping_rounds=2, n_jobs=1)
    late = (TARGET > 0).astype(int)
    stopped.fit(TABLE, late, eval_set=[(TABLE[:50], 1 - late[:50])], verbose=False)
    path = tmp_path / f"model{suffix}"
    stopped.save_model(path)
    model, description = files.read(path.read_bytes())
    assert description.labels == ("air time", "hour", "fare")
    assert description.sample == ""
    np.testing.assert_array_equal(model.predict(TABLE), stopped.predict(TABLE))
    assert model.booster.num_boosted_rounds() == stopped.best_iteration + 1


def test_categories_are_taken_as_they_were_and_unknown_ones_refused() -> None:
    regressor = xgboost.XGBRegressor(n_estimators=8, n_jobs=1, enable_categorical=True).fit(CARRIERS, TARGET)
    model, description = files.read(files.dump(regressor, CARRIERS))
    assert description.kinds == ("number", "number", "number", "string", "number")
    rows = description.columns.frame(CARRIERS.to_numpy(object))
    np.testing.assert_array_equal(model.predict(rows), regressor.predict(CARRIERS))
    with pytest.raises(NotConvertible, match="categorical columns"):
        convert_checked(model, description.columns, None, files)
    with pytest.raises(ValueError, match="not trained with the category 'ZZ'"):
        model.predict(rows.assign(carrier="ZZ"))


def test_categories_that_xgboost_cuts_short_are_refused() -> None:
    table = CARRIERS.assign(carrier=CARRIERS["carrier"].cat.rename_categories({"UA": "Ünited"}))
    model = xgboost.XGBRegressor(n_estimators=2, n_jobs=1, enable_categorical=True).fit(table, TARGET)
    with pytest.raises(BadArtifact, match="categories outside of ASCII"):
        files.read(files.dump(model))


def test_a_sample_names_the_columns_of_a_model_that_was_fitted_on_arrays() -> None:
    model = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(TABLE.to_numpy(), TARGET)
    unnamed = files.read(files.dump(model))[1]
    named = files.read(files.dump(model, TABLE))[1]
    assert (unnamed.labels, unnamed.named) == (("x0", "x1", "x2"), False)
    assert (named.labels, named.named) == (("air time", "hour", "fare"), True)
    assert json.loads(named.sample)[0]["hour"] is None


def test_a_sample_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UnknownColumns, match="lacks the column 'hour'"):
        files.dump(trained(TARGET), TABLE.drop(columns="hour"))


def test_the_same_model_gives_the_same_bytes_and_graph() -> None:
    first, second = files.dump(trained(TARGET), TABLE), files.dump(trained(TARGET), TABLE)
    assert first == second
    assert graph_of(first) == graph_of(second)


@pytest.mark.parametrize("content", [b"", b"hello", b"{", b"{}", b'{"learner": {}}', b"[1]"])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(BadArtifact, match="no XGBoost model"):
        files.read(content)


_VALUES = st.one_of(st.just(float("nan")), st.floats(-5, 5, width=32))


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(st.tuples(_VALUES, _VALUES, _VALUES), min_size=1, max_size=20), depth=st.integers(1, 5))
def test_any_model_that_passes_the_comparison_answers_alike(rows: list[Any], depth: int) -> None:
    booster = trained(TARGET, max_depth=depth)
    table = np.array(rows, dtype=np.float32)
    [answer] = onnxruntime.InferenceSession(graph_of(files.dump(booster))).run(None, {"input": table})
    expected = booster.predict(xgboost.DMatrix(table, feature_names=booster.feature_names))
    np.testing.assert_allclose(answer[:, 0], expected, rtol=1e-4, atol=1e-4)
