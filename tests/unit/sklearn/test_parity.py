"""The comparison finds graphs that answer otherwise, above all at thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tenantry_predictor.runtimes.columns import UnknownColumns, columns_of
from tenantry_predictor.runtimes.conversion import convert
from tenantry_predictor.runtimes.parity import ParityReport, compare, convert_checked
from tenantry_predictor.runtimes.probes import probes
from unit.sklearn.estimators import DELAY, FITTED, NUMBERS


def compared(model: Any, content: bytes | None = None, sample: pd.DataFrame | None = None) -> ParityReport:
    columns = columns_of(model, sample)
    graph = content or convert(model, columns)
    return compare(model, graph, columns, probes(model, columns, sample))


def close_values() -> tuple[np.ndarray, np.ndarray]:
    """Neighbours in single precision, whose scaled values single precision cannot keep apart."""
    start = np.float32(1_000_000)
    values = start + np.arange(16, dtype=np.float32) * np.spacing(start)
    return values.astype(float).reshape(-1, 1), np.arange(16) % 2 * 100.0


def test_a_scaled_tree_disagrees_in_single_precision_and_agrees_in_double() -> None:
    values, answers = close_values()
    model = make_pipeline(StandardScaler(), DecisionTreeRegressor(random_state=0)).fit(values, answers)
    single = compared(model)
    assert not single.agrees
    assert single.largest_difference == 100.0
    chosen = convert_checked(model, columns_of(model)).parity
    assert chosen.agrees
    assert chosen.precision == "double"


@pytest.mark.parametrize("shift", [1, -1])
def test_a_threshold_that_is_rounded_to_the_wrong_side_is_caught(shift: int) -> None:
    """The next number of single precision is enough: the probes stand on both sides of each threshold."""
    model = FITTED["decision tree"][0]
    graph = onnx.load_from_string(convert(model, columns_of(model)))
    values = next(a for a in graph.graph.node[0].attribute if a.name == "nodes_values")
    moved = np.nextafter(np.array(values.floats, np.float32), np.float32(shift * np.inf))
    values.floats[:] = [float(value) for value in moved]
    report = compared(model, graph.SerializeToString())
    assert not report.agrees
    assert report.where == "a row at a split threshold"


def test_another_label_is_a_difference() -> None:
    model = DecisionTreeClassifier(random_state=0).fit(NUMBERS, np.where(DELAY > 40, "late", "on time"))
    other = DecisionTreeClassifier(random_state=0).fit(NUMBERS, np.where(DELAY > 41, "late", "on time"))
    report = compared(model, convert(other, columns_of(other)), NUMBERS)
    assert not report.agrees
    assert "another answer" in str(report) or report.largest_difference == 1.0


def test_a_graph_that_is_slightly_off_is_a_difference() -> None:
    model = LinearRegression().fit(NUMBERS, DELAY)
    other = LinearRegression().fit(NUMBERS, DELAY * 1.001)
    assert not compared(model, convert(other, columns_of(other))).agrees


def test_large_terms_that_cancel_are_computed_in_double() -> None:
    seconds = NUMBERS + 1.7e9
    model = Ridge(alpha=1e-9).fit(seconds, DELAY)
    report = convert_checked(model, columns_of(model), seconds).parity
    assert report.precision == "double"


def test_rows_of_the_sample_must_be_answered() -> None:
    model = LinearRegression().fit(NUMBERS, DELAY)
    holes = NUMBERS.head(3).assign(hour=np.nan)
    with pytest.raises(UnknownColumns, match="refuses a row of the sample"):
        compared(model, sample=holes)


def test_the_report_says_how_many_rows_and_how_far() -> None:
    report = compared(FITTED["gradient boosting"][0], sample=NUMBERS)
    assert report.rows > 2000
    assert 0 < report.largest_difference < 1e-3
    assert str(report).startswith(f"the float graph agrees with the estimator on {report.rows} rows")


def test_probe_rows_reach_both_sides_of_the_thresholds_of_every_forest_member() -> None:
    model = FITTED["random forest"][0]
    columns = columns_of(model)
    edges = next(p for p in probes(model, columns, None) if p.where == "a row at a split threshold").frame
    leaves = model.apply(edges)
    assert all(len(set(tree)) > 5 for tree in leaves.T)
