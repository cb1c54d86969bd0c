"""Tables on their way to the router, read there by what reads them there; and answers on their way back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tenantry.client import tables
from tenantry_core.wire import Tensor
from tenantry_predictor.tables import TableReader

_floats = arrays(
    np.float64, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(allow_infinity=False)
)
_READER = TableReader([Tensor("input", "FP64", (-1, 3))], ["a", "b", "c"])


@given(_floats)
def test_numbers_arrive_exactly_whatever_the_form(values: Any) -> None:
    frame = pd.DataFrame(values, columns=["c", "a", "b"])
    ordered = frame[["a", "b", "c"]]
    for table in (frame, frame.to_dict("records"), ordered.to_numpy(), ordered.to_numpy().tolist()):
        read = _READER.read(tables.encode(table))["input"]
        np.testing.assert_array_equal(read, ordered.to_numpy())


def test_columns_of_every_kind_become_json() -> None:
    frame = pd.DataFrame(
        {
            "small": np.array([1, 2], dtype=np.int8),
            "single": np.array([0.5, np.nan], dtype=np.float32),
            "yes": [True, False],
            "word": ["a", None],
            "kind": pd.Categorical(["x", None]),
            "maybe": pd.array([1, None], dtype="Int64"),
            "when": [pd.Timestamp("2026-01-02"), pd.NaT],
            7: [np.float64(1.5), np.int64(2)],
        }
    )
    assert json.loads(tables.encode(frame)) == {
        "columns": ["small", "single", "yes", "word", "kind", "maybe", "when", "7"],
        "data": [
            [1, 0.5, True, "a", "x", 1, "2026-01-02T00:00:00", 1.5],
            [2, None, False, None, None, None, None, 2],
        ],
    }


@pytest.mark.parametrize(
    "table", [pd.DataFrame({"size": [1.0, np.inf]}), np.array([[-np.inf]])], ids=["a frame", "an array"]
)
def test_infinity_is_refused_and_not_made_missing(table: Any) -> None:
    with pytest.raises(ValueError, match="holds infinity"):
        tables.encode(table)


def test_an_array_of_another_shape_is_told_the_right_one() -> None:
    with pytest.raises(TypeError, match=r"of shape \(rows, columns\)"):
        tables.encode(np.array([1.0, 2.0]))


def test_a_frame_brings_a_series_with_its_index() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index(["x", "y"], name="id"))
    expected = pd.Series([3.5, np.nan], index=frame.index, name="minutes")
    pd.testing.assert_series_equal(tables.decode([3.5, None], frame, "minutes"), expected)


def test_several_values_a_row_are_a_frame_with_the_same_index() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=[10, 20])
    expected = pd.DataFrame([[0.25, 0.75], [0.5, 0.5]], index=[10, 20])
    pd.testing.assert_frame_equal(tables.decode([[0.25, 0.75], [0.5, 0.5]], frame, None), expected)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2], "i", [1, 2]),
        ([1.5, None], "f", [1.5, np.nan]),
        ([True, False], "b", [True, False]),
        (["late", "on time"], "O", ["late", "on time"]),
        ([[0.1, 0.9], [0.5, 0.5]], "f", [[0.1, 0.9], [0.5, 0.5]]),
    ],
)
def test_other_tables_bring_arrays(values: list[Any], dtype: str, expected: list[Any]) -> None:
    answer = tables.decode(values, [{"a": 1.0}, {"a": 2.0}], None)
    assert isinstance(answer, np.ndarray)
    assert answer.dtype.kind == dtype
    np.testing.assert_array_equal(answer, expected)
