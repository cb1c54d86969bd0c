"""LightGBM files: what is in them, what they answer, and which of them have a graph that agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import pandas as pd
import pytest

from tenantry_predictor.runtimes import lightgbm as files
from tenantry_predictor.runtimes.columns import UnknownColumns
from tenantry_predictor.runtimes.conversion import NotConvertible
from tenantry_predictor.runtimes.parity import convert_checked
from tenantry_predictor.runtimes.readers import BadArtifact

_rng = np.random.default_rng(6)
TABLE = pd.DataFrame(_rng.normal(size=(300, 3)), columns=["air time", "hour", "fare"])
TABLE.loc[::7, "hour"] = np.nan
TABLE.loc[::5, "fare"] = 0.0
TARGET = TABLE["air time"] + TABLE["hour"].fillna(2)
CLASSES = pd.qcut(TARGET, 3, labels=False)
CARRIERS = TABLE.assign(
    carrier=pd.Categorical(_rng.choice(["AA", "Ünited", "B6"], 300)),
    seats=pd.Categorical(_rng.choice([3, 5], 300)),
)
QUIET = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}


def trained(target: Any, group: list[int] | None = None, **parameters: Any) -> lightgbm.Booster:
    return lightgbm.train({**QUIET, **parameters}, lightgbm.Dataset(TABLE, target, group=group), 12)


def classifier(labels: Any) -> lightgbm.LGBMClassifier:
    return lightgbm.LGBMClassifier(n_estimators=12, min_child_samples=5, verbosity=-1, n_jobs=1).fit(
        TABLE, labels
    )


def graph_of(content: bytes) -> bytes:
    model, description = files.read(content)
    return convert_checked(model, description.columns, description.frame(), files).onnx


@pytest.mark.parametrize(
    ("parameters", "target", "group"),
    [
        ({"objective": "regression"}, TARGET, None),
        ({"objective": "quantile", "alpha": 0.9}, TARGET, None),
        ({"objective": "poisson"}, CLASSES, None),
        ({"objective": "lambdarank"}, CLASSES, [20] * 15),
        ({"boosting": "dart"}, TARGET, None),
        ({"use_missing": False}, TARGET, None),
    ],
)
def test_regressors_and_rankers_have_graphs_that_agree(
    parameters: dict[str, Any], target: Any, group: list[int] | None
) -> None:
    booster = trained(target, group, **parameters)
    session = onnxruntime.InferenceSession(graph_of(files.dump(booster, TABLE)))
    [answer] = session.run(["variable"], {"input": TABLE.to_numpy()})
    np.testing.assert_allclose(answer[:, 0], booster.predict(TABLE), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "labels",
    [
        np.where(TARGET > 0, "late", "on time"),
        np.array(["low", "middle", "high"])[CLASSES],
        TARGET > 0,
        CLASSES * 10,
        CLASSES,
    ],
    ids=["two strings", "three strings", "booleans", "integers", "numbers of classes"],
)
def test_labels_are_those_of_the_training(labels: Any) -> None:
    model = classifier(labels)
    session = onnxruntime.InferenceSession(graph_of(files.dump(model, TABLE)))
    label, probabilities = session.run(["label", "probabilities"], {"input": TABLE.to_numpy()})
    assert label.tolist() == np.asarray(model.predict(TABLE)).tolist()
    np.testing.assert_allclose(probabilities, model.predict_proba(TABLE), rtol=1e-4, atol=1e-6)


def test_one_against_all_keeps_its_probabilities() -> None:
    booster = trained(CLASSES, objective="multiclassova", num_class=3)
    session = onnxruntime.InferenceSession(graph_of(files.dump(booster, TABLE)))
    [probabilities] = session.run(["probabilities"], {"input": TABLE.to_numpy()})
    np.testing.assert_allclose(probabilities, booster.predict(TABLE), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "parameters",
    [
        {"linear_tree": True},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
        {"zero_as_missing": True},
    ],
)
def test_what_has_no_graph_that_agrees_answers_as_it_is(parameters: dict[str, Any]) -> None:
    booster = trained(TARGET, **parameters)
    model, description = files.read(files.dump(booster, TABLE))
    with pytest.raises(NotConvertible):
        convert_checked(model, description.columns, description.frame(), files)
    np.testing.assert_array_equal(model.predict(TABLE), booster.predict(TABLE))


def test_categories_are_taken_as_they_were() -> None:
    regressor = lightgbm.LGBMRegressor(n_estimators=8, verbosity=-1, n_jobs=1).fit(CARRIERS, TARGET)
    model, description = files.read(files.dump(regressor, CARRIERS))
    assert description.kinds == ("number", "number", "number", "string", "number")
    rows = description.columns.frame(CARRIERS.to_numpy(object))
    np.testing.assert_array_equal(model.predict(rows), regressor.predict(CARRIERS))
    unknown = CARRIERS.assign(carrier=pd.Categorical(["ZZ"] * 300, categories=["AA", "B6", "ZZ", "Ünited"]))
    np.testing.assert_array_equal(model.predict(rows.assign(carrier="ZZ")), regressor.predict(unknown))


def test_lightgbm_reads_what_is_written_for_predictors(tmp_path: Path) -> None:
    model = classifier(TARGET > 0)
    content = files.dump(model, TABLE)
    (tmp_path / "model.lgb.txt").write_bytes(content)
    for booster in (
        lightgbm.Booster(model_file=tmp_path / "model.lgb.txt"),
        lightgbm.Booster(model_str=content.decode()),
    ):
        assert booster.pandas_categorical == model.booster_.pandas_categorical
        np.testing.assert_array_equal(booster.predict(TABLE), model.booster_.predict(TABLE))


def test_a_file_that_lightgbm_wrote_itself_is_read(tmp_path: Path) -> None:
    booster = trained(TARGET)
    booster.save_model(tmp_path / "model.lgb.txt")
    model, description = files.read((tmp_path / "model.lgb.txt").read_bytes())
    assert description.labels == ("air_time", "hour", "fare")
    assert description.sample == ""
    np.testing.assert_array_equal(model.predict(TABLE), booster.predict(TABLE))


def test_a_sample_gives_names_their_spaces_back_and_names_to_arrays() -> None:
    assert files.read(files.dump(trained(TARGET), TABLE))[1].labels == ("air time", "hour", "fare")
    unnamed = lightgbm.train(QUIET, lightgbm.Dataset(TABLE.to_numpy(), TARGET), 2)
    assert files.read(files.dump(unnamed))[1].labels == ("x0", "x1", "x2")
    assert files.read(files.dump(unnamed, TABLE))[1].labels == ("air time", "hour", "fare")
    with pytest.raises(UnknownColumns, match="lacks the column 'hour'"):
        files.dump(trained(TARGET), TABLE.drop(columns="hour"))


def test_the_same_model_gives_the_same_bytes_and_graph() -> None:
    first, second = files.dump(trained(TARGET), TABLE), files.dump(trained(TARGET), TABLE)
    assert first == second
    assert graph_of(first) == graph_of(second)


def test_what_is_no_model_is_refused() -> None:
    content = files.dump(trained(TARGET), TABLE)
    for damaged in (b"", b"hello", b"\xff\xfe", b"tree\n", content[:200], content[: len(content) // 2]):
        with pytest.raises(BadArtifact, match="LightGBM model"):
            files.read(damaged)
