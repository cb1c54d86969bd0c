"""`/predict` bodies: the four forms, and a sentence that names the column for all that does not fit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_core.problems import Problem
from tenantry_core.wire import Tensor
from tenantry_predictor.tables import TableReader, encode_predictions

MATRIX = TableReader([Tensor("input", "FP32", (-1, 3))], ("a", "b", "c"))
NAMELESS = TableReader([Tensor("input", "FP64", (-1, 2))], ())
MIXED = TableReader(
    [Tensor("age", "FP32", (-1, 1)), Tensor("visits", "INT64", (-1, 1)), Tensor("city", "BYTES", (-1, 1))],
    ("age", "visits", "city"),
)
FLAGS = TableReader([Tensor("on", "BOOL", (-1,))], ("on",))
SPLIT_NAMES = TableReader([Tensor("columns", "BYTES", (-1, 1)), Tensor("data", "FP32", (-1, 1))], ())


def read(table: TableReader, document: Any) -> dict[str, list[Any]]:
    return {name: array.tolist() for name, array in table.read(json.dumps(document).encode()).items()}


def refusal(table: TableReader, body: bytes | Any) -> Problem:
    with pytest.raises(Problem) as caught:
        table.read(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


@pytest.mark.parametrize(
    "document",
    [
        [{"a": 1, "b": 2, "c": 3}, {"c": 6, "b": 5, "a": 4}],
        {"c": [3, 6], "a": [1, 4], "b": [2, 5]},
        {"columns": ["b", "a", "c"], "data": [[2, 1, 3], [5, 4, 6]]},
        {"columns": ["a", "b", "c"], "index": [7, 8], "data": [[1, 2, 3], [4, 5, 6]]},
        [[1, 2, 3], [4, 5, 6]],
    ],
    ids=["records", "columns", "split", "split of pandas", "rows"],
)
def test_every_form_gives_the_same_matrix(document: Any) -> None:
    assert read(MATRIX, document) == {"input": [[1, 2, 3], [4, 5, 6]]}


def test_matrix_has_the_datatype_of_the_input() -> None:
    assert MATRIX.read(b"[[1,2,3]]")["input"].dtype == np.float32
    assert NAMELESS.read(b"[[1,2]]")["input"].dtype == np.float64


def test_each_column_becomes_an_input_of_its_datatype() -> None:
    arrays = MIXED.read(json.dumps([{"visits": 2, "city": "Oslo", "age": 1.5}]).encode())
    assert {name: (array.dtype.kind, array.tolist()) for name, array in arrays.items()} == {
        "age": ("f", [[1.5]]),
        "visits": ("i", [[2]]),
        "city": ("O", [["Oslo"]]),
    }


def test_null_is_missing_in_numeric_columns() -> None:
    assert np.isnan(MATRIX.read(b'[{"a":null,"b":1,"c":2}]')["input"][0, 0])


def test_booleans_are_numbers_where_numbers_are_expected() -> None:
    assert read(MATRIX, [[True, False, 1]]) == {"input": [[1, 0, 1]]}
    assert read(FLAGS, {"on": [True, False]}) == {"on": [True, False]}


def test_whole_floats_are_integers() -> None:
    assert read(MIXED, [[1, 3.0, "x"]])["visits"] == [[3]]


def test_a_model_may_have_columns_called_columns_and_data() -> None:
    assert read(SPLIT_NAMES, {"columns": ["x", "y"], "data": [1, 2]}) == {
        "columns": [["x"], ["y"]],
        "data": [[1], [2]],
    }


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "empty"),
        (b"   ", "no JSON"),
        (b"[[1,2,3]", "truncated"),
        (b"[[1,2,NaN]]", "write null"),
        (b"[[1,2,Infinity]]", "write null"),
        (b"[[1,2,-Infinity]]", "write null"),
        (b"[" * 100_000, "too deeply"),
        (b'{"a":' * 100_000, "too deeply"),
        (b'[{"\xff": 1}]', "no JSON"),
        (b"[[1,2,1e999]]", "no JSON"),
        (b"[[1,2,3]] x", "no JSON"),
    ],
)
def test_malformed_json_is_400(body: bytes, sentence: str) -> None:
    problem = refusal(MATRIX, body)
    assert problem.status == 400
    assert sentence in problem.error


@pytest.mark.parametrize(
    ("table", "document", "sentence"),
    [
        (MATRIX, [], "no rows"),
        (MATRIX, {"a": [], "b": [], "c": []}, "no rows"),
        (MATRIX, {"columns": ["a", "b", "c"], "data": []}, "no rows"),
        (MATRIX, {}, "lacks the column 'a'"),
        (MATRIX, 5, "list or object"),
        (MATRIX, None, "list or object"),
        (MATRIX, [5], "Row 0 is 5"),
        (MATRIX, [{"a": 1, "b": 2}], "Row 0 lacks the column 'c'"),
        (MATRIX, [{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "d": 3}], "Row 1 lacks the column 'c'"),
        (MATRIX, [{"a": 1, "b": 2, "c": 3, "d": 4}], "'d'"),
        (MATRIX, [{"a": 1, "b": 2, "c": 3}, [1, 2, 3]], "Row 1"),
        (MATRIX, [[1, 2, 3], {"a": 1, "b": 2, "c": 3}], "Row 1"),
        (MATRIX, [[1, 2, 3], [1, 2]], "Row 1 has 2 values, expected 3 ('a', 'b', 'c')"),
        (MATRIX, [[1, 2, 3, 4]], "Row 0 has 4 values"),
        (MATRIX, [[1, "2", 3]], "Row 0, column 'b': expected a number, got \"2\""),
        (MATRIX, [[1, 2, 3], [1, 2, [3]]], "Row 1, column 'c'"),
        (MATRIX, [{"a": {}, "b": 1, "c": 2}], "column 'a'"),
        (MATRIX, [[1, 1e39, 3]], "column 'b': 1e39 does not fit into FP32"),
        (MATRIX, [[1, 10**400, 3]], "column 'b'"),
        (MATRIX, {"a": [1, 2], "b": [1], "c": [1, 2]}, "Column 'b' has 1 values, but 'a' has 2"),
        (MATRIX, {"a": 1, "b": 2, "c": 3}, "Column 'a' is 1, not a list"),
        (MATRIX, {"a": {"0": 1}, "b": {"0": 1}, "c": {"0": 1}}, "Column 'a'"),
        (MATRIX, {"a": [1], "b": [1]}, "lacks the column 'c'"),
        (MATRIX, {"a": [1], "b": [1], "c": [1], "z": [1]}, "'z'"),
        (MATRIX, {"columns": ["a", "b"], "data": [[1, 2]]}, "lacks the column 'c'"),
        (MATRIX, {"columns": ["a", "b", "c", "z"], "data": [[1, 2, 3, 4]]}, "'z'"),
        (MATRIX, {"columns": ["a", "b", "c", "c"], "data": [[1, 2, 3, 4]]}, "twice"),
        (MATRIX, {"columns": ["a", "b", "c"], "data": [[1, 2, 3], [1, 2]]}, "Row 1 has 2 values"),
        (MATRIX, {"columns": ["a", "b", "c"], "data": [[1, 2, 3]], "extra": 1}, "'extra'"),
        (NAMELESS, [{"a": 1, "b": 2}], "no column names"),
        (NAMELESS, {"a": [1], "b": [2]}, "no column names"),
        (NAMELESS, [[1, 2], [3]], "Row 1 has 1 values, expected 2"),
        (MIXED, [[1.5, 2.5, "x"]], "column 'visits': expected a whole number, got 2.5"),
        (MIXED, [[1.5, None, "x"]], "column 'visits'"),
        (MIXED, [[1.5, 2**63, "x"]], "column 'visits': 9223372036854775808 does not fit into INT64"),
        (MIXED, [[1.5, 1e300, "x"]], "column 'visits'"),
        (MIXED, [[1.5, 2, 3]], "column 'city': expected a string, got 3"),
        (MIXED, [[1.5, 2, None]], "column 'city': expected a string, got null"),
        (MIXED, [["1.5", 2, "x"]], "column 'age': expected a number"),
        (FLAGS, [[1]], "column 'on': expected true or false, got 1"),
    ],
)
def test_what_does_not_fit_is_422_and_named(table: TableReader, document: Any, sentence: str) -> None:
    problem = refusal(table, document)
    assert problem.status == 422
    assert sentence in problem.error


def test_model_of_tensors_names_the_way_to_call_it() -> None:
    problem = refusal(TableReader([Tensor("image", "FP32", (-1, 3, 8, 8))], ()), [[1]])
    assert problem.status == 422
    assert "infer" in problem.error


numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
names = st.lists(st.text(max_size=8), min_size=1, max_size=5, unique=True)


@given(st.data())
def test_all_forms_of_any_table_agree(data: st.DataObject) -> None:
    columns = data.draw(names)
    rows = data.draw(
        st.lists(
            st.lists(st.none() | numbers, min_size=len(columns), max_size=len(columns)),
            min_size=1,
            max_size=4,
        )
    )
    order = data.draw(st.permutations(range(len(columns))))
    shuffled = [columns[i] for i in order]
    table = TableReader([Tensor("input", "FP64", (-1, len(columns)))], columns)
    forms = [
        rows,
        [{columns[i]: row[i] for i in order} for row in rows],
        {columns[i]: [row[i] for row in rows] for i in order},
        {"columns": shuffled, "data": [[row[i] for i in order] for row in rows]},
    ]
    expected = np.array([[np.nan if value is None else value for value in row] for row in rows], np.float64)
    for form in forms:
        np.testing.assert_array_equal(table.read(json.dumps(form).encode())["input"], expected)


json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)


def outcome(table: TableReader, body: bytes) -> dict[str, Any] | Problem:
    try:
        return table.read(body)
    except Problem as problem:
        return problem


@given(json_values)
def test_any_json_is_read_or_refused_with_a_sentence(document: Any) -> None:
    for table in (MATRIX, NAMELESS, MIXED, FLAGS):
        result = outcome(table, json.dumps(document).encode())
        if isinstance(result, Problem):
            assert result.status == 422
            assert result.error.endswith(".")
        else:
            assert all(len(array) for array in result.values())


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_with_a_sentence(body: bytes) -> None:
    result = outcome(MATRIX, body)
    assert not isinstance(result, Problem) or result.status in (400, 422)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array([[1.5], [2.0]], np.float32), b"[1.5,2.0]"),
        (np.array([1, 2]), b"[1,2]"),
        (np.array([[0.25, 0.75]]), b"[[0.25,0.75]]"),
        (np.array(["a", "b"], object), b'["a","b"]'),
        (np.array([[np.nan], [np.inf], [-np.inf], [1.0]]), b"[null,null,null,1.0]"),
        (np.array([True, False]), b"[true,false]"),
    ],
)
def test_predictions_are_a_json_list(array: Any, text: bytes) -> None:
    assert encode_predictions(array) == text
