"""A converted estimator, loaded as a predictor loads it, answers as scikit-learn does."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from tenantry_predictor.runtimes import onnx
from tenantry_predictor.runtimes.base import AnyArray, LoadedModel
from tenantry_predictor.runtimes.columns import UnknownColumns, columns_of
from tenantry_predictor.runtimes.conversion import NotConvertible
from tenantry_predictor.runtimes.parity import convert_checked
from tenantry_predictor.tables import TableReader
from unit.sklearn.estimators import DELAY, FITTED, FLIGHTS, LATE, NUMBERS, encoded


def loaded(model: Any, sample: pd.DataFrame | None = None) -> LoadedModel:
    return onnx.load_bytes(convert_checked(model, columns_of(model, sample), sample).onnx)


def asked(served: LoadedModel, frame: pd.DataFrame, output: str | None = None) -> AnyArray:
    """The answer to a /predict body, on the way that a request takes."""
    tensors = TableReader(served.inputs, served.columns).read(
        frame.to_json(orient="records", double_precision=15).encode()
    )
    name = output or served.outputs[0].name
    answer = served.predict(tensors, [name])[name]
    return answer[:, 0] if answer.ndim == 2 and answer.shape[1] == 1 else answer


@pytest.mark.parametrize("name", FITTED)
def test_answers_are_scikit_learns(name: str) -> None:
    model, rows = FITTED[name]
    served = loaded(model)
    expected = model.predict(rows)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(asked(served, rows), expected, rtol=1e-4, atol=1e-3)
    else:
        assert asked(served, rows).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "name", [name for name, (model, _) in FITTED.items() if hasattr(model, "predict_proba")]
)
def test_probabilities_are_the_second_output(name: str) -> None:
    model, rows = FITTED[name]
    served = loaded(model)
    assert [tensor.name for tensor in served.outputs] == ["label", "probabilities"]
    np.testing.assert_allclose(asked(served, rows, "probabilities"), model.predict_proba(rows), atol=1e-4)


def test_numbers_come_as_one_input_and_strings_make_one_a_column() -> None:
    numeric, mixed = loaded(FITTED["linear"][0]), loaded(FITTED["one-hot ridge"][0])
    assert [(tensor.name, tensor.shape) for tensor in numeric.inputs] == [("input", (-1, 2))]
    assert numeric.columns == ("air time", "hour")
    assert [(t.name, t.datatype, t.shape) for t in mixed.inputs] == [
        ("carrier", "BYTES", (-1, 1)),
        ("air time", "FP32", (-1, 1)),
        ("hour", "FP32", (-1, 1)),
    ]
    assert [tensor.name for tensor in numeric.outputs] == ["variable"]


def test_a_column_may_be_called_like_an_output() -> None:
    frame = FLIGHTS.rename(columns={"carrier": "label", "hour": "variable", "air time": "v1"})
    steps = encoded(LogisticRegression(max_iter=500)).steps
    steps[0][1].transformers = [
        (name, part, [{"carrier": "label", "hour": "variable", "air time": "v1"}[c] for c in columns])
        for name, part, columns in steps[0][1].transformers
    ]
    model = make_pipeline(*(step for _, step in steps)).fit(frame, LATE)
    assert asked(loaded(model), frame).tolist() == model.predict(frame).tolist()


def test_the_sample_is_kept_as_a_body_that_the_model_answers() -> None:
    model, rows = FITTED["one-hot ridge"]
    served = loaded(model, rows.tail(3))
    assert served.sample is not None
    assert json.loads(served.sample) == rows.tail(3).head(1).to_dict("records")
    tensors = TableReader(served.inputs, served.columns).read(served.sample)
    assert served.predict(tensors, ["variable"])["variable"].shape == (1, 1)


def test_an_estimator_fitted_on_arrays_takes_rows_only() -> None:
    served = loaded(LinearRegression().fit(NUMBERS.to_numpy(), DELAY))
    assert served.columns == ()
    assert served.sample is None


def test_a_sample_names_the_columns_of_an_estimator_fitted_on_arrays() -> None:
    served = loaded(LinearRegression().fit(NUMBERS.to_numpy(), DELAY), NUMBERS.head(2))
    assert served.columns == ("air time", "hour")


def test_labels_that_are_booleans_stay_so() -> None:
    model = LogisticRegression(max_iter=500).fit(NUMBERS, LATE == "late")
    served = loaded(model)
    assert served.outputs[0].datatype == "BOOL"
    assert asked(served, NUMBERS).tolist() == model.predict(NUMBERS).tolist()


def test_missing_values_go_the_way_that_the_trees_learned() -> None:
    holes = NUMBERS.copy()
    holes.loc[::3, "hour"] = np.nan
    model = RandomForestRegressor(n_estimators=10, random_state=0).fit(holes, DELAY)
    np.testing.assert_allclose(asked(loaded(model), holes), model.predict(holes), rtol=1e-4)


def test_columns_are_chosen_by_name_whatever_their_order() -> None:
    model, rows = FITTED["one-hot boosting"]
    turned = rows[["hour", "carrier", "air time"]]
    np.testing.assert_allclose(asked(loaded(model), turned), model.predict(rows), rtol=1e-4, atol=1e-3)


def test_the_same_estimator_gives_the_same_bytes() -> None:
    for name in ("neighbours", "one-hot boosting", "forest classifier"):
        model, rows = FITTED[name]
        columns = columns_of(model, rows)
        assert convert_checked(model, columns, rows).onnx == convert_checked(model, columns, rows).onnx


def test_what_has_no_graph_says_so() -> None:
    model = KernelRidge().fit(NUMBERS, DELAY)
    with pytest.raises(NotConvertible, match="KernelRidge does not convert"):
        convert_checked(model, columns_of(model))


def test_thresholds_that_single_precision_cannot_tell_apart_are_found() -> None:
    model = HistGradientBoostingRegressor(max_iter=5).fit(NUMBERS, DELAY)
    with pytest.raises(NotConvertible, match=r"differs from the estimator .* at a row at a split threshold"):
        convert_checked(model, columns_of(model))


def test_a_transformer_is_no_model() -> None:
    scaler = StandardScaler().fit(NUMBERS)
    with pytest.raises(NotConvertible, match="has no predict"):
        convert_checked(scaler, columns_of(scaler))


def test_an_estimator_that_is_not_fitted_says_so() -> None:
    with pytest.raises(UnknownColumns, match="is it fitted"):
        columns_of(Ridge())


def test_a_sample_without_a_column_is_refused_by_name() -> None:
    model, rows = FITTED["one-hot ridge"]
    with pytest.raises(UnknownColumns, match="lacks the column 'hour'"):
        convert_checked(model, columns_of(model, rows), rows.drop(columns="hour"))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(-100, 100)), min_size=8, max_size=60
    ),
    st.integers(1, 6),
    st.booleans(),
)
def test_any_tree_that_passes_the_comparison_answers_alike(
    rows: list[tuple[float, float, float]], depth: int, scaled: bool
) -> None:
    table = pd.DataFrame(rows, columns=["a", "b", "y"])
    tree = DecisionTreeRegressor(max_depth=depth, random_state=0)
    model = make_pipeline(StandardScaler(), tree) if scaled else tree
    model.fit(table[["a", "b"]], table["y"])
    try:
        served = loaded(model)
    except NotConvertible:
        return  # served by scikit-learn itself
    expected = model.predict(table[["a", "b"]])
    np.testing.assert_allclose(asked(served, table[["a", "b"]]), expected, rtol=1e-4, atol=1e-4)
