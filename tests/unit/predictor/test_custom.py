"""Custom models: what a class gives, what comes of it, and what its errors become."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenantry_core.problems import Problem
from tenantry_predictor.errors import LoadError, ProbeFailed
from tenantry_predictor.runtimes.custom import OUTPUT, CustomModel, opener
from tenantry_predictor.tables import TableReader, encode_predictions


class Plain:
    """Nothing but `predict`."""

    def __init__(self, predict: Callable[[pd.DataFrame], Any], **attributes: Any) -> None:
        self._predict = predict
        for name, value in attributes.items():
            setattr(self, name, value)

    def predict(self, data: pd.DataFrame) -> Any:
        return self._predict(data)


def asked(model: CustomModel, body: bytes) -> bytes:
    tensors = TableReader(model.inputs, model.columns).read(body)
    return encode_predictions(model.predict(tensors, [OUTPUT])[OUTPUT])


@pytest.mark.parametrize(
    "body",
    [
        b'[{"a": 1, "b": 2.5}, {"a": 3, "b": null}]',
        b'{"a": [1, 3], "b": [2.5, null]}',
        b'{"columns": ["a", "b"], "data": [[1, 2.5], [3, null]]}',
    ],
)
def test_without_columns_it_takes_what_comes(body: bytes) -> None:
    seen: list[pd.DataFrame] = []

    def predict(data: pd.DataFrame) -> Any:
        seen.append(data)
        return data["a"] * 2

    model = CustomModel(Plain(predict))
    assert asked(model, body) == b"[2,6]"
    assert seen[0].dtypes.astype(str).to_dict() == {"a": "int64", "b": "float64"}
    assert seen[0]["b"].isna().tolist() == [False, True]


def test_plain_rows_are_named_by_position_and_hold_anything() -> None:
    model = CustomModel(Plain(lambda data: data["0"] + data["1"]))
    assert asked(model, b'[["x", "y"], ["v", "w"]]') == b'["xy","vw"]'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "A table with a row is expected"),
        (b"3", "A table with a row is expected"),
        (b"{}", "with a row at least"),
        (b'{"a": 1}', "a list a column"),
        (b'{"a": [1, 2], "b": [1]}', "all of one length"),
        (b'[{"a": 1}, {"b": 1}]', "Row 1 is no record"),
        (b"[[1, 2], [3]]", "Row 1 is no list of as many values"),
        (b'{"columns": ["a"], "data": [[1, 2]]}', "Row 0 has 2 values"),
        (b'{"columns": ["a", "a"], "data": [[1, 2]]}', "each once"),
    ],
)
def test_what_is_no_table_is_named(body: bytes, message: str) -> None:
    model = CustomModel(Plain(lambda data: np.zeros(len(data))))
    with pytest.raises(Problem, match=message) as refused:
        asked(model, body)
    assert refused.value.status == 422


def test_columns_are_numbers_unless_they_say_otherwise() -> None:
    named = CustomModel(Plain(lambda data: data["a"], columns=["a", "b"]))
    typed = CustomModel(Plain(lambda data: data["n"], columns={"store": "BYTES", "n": "INT64"}))
    assert [(t.name, t.datatype) for t in named.inputs] == [("a", "FP64"), ("b", "FP64")]
    assert asked(typed, b'[{"store": "x", "n": 3}]') == b"[3.0]"
    with pytest.raises(Problem, match="column 'n': expected a whole number"):
        asked(typed, b'[{"store": "x", "n": "3"}]')


@pytest.mark.parametrize(
    ("answer", "datatype", "shape"),
    [
        (np.array([True]), "BOOL", (-1,)),
        (np.array([1], dtype=np.int32), "INT32", (-1,)),
        (np.array([[1.0, 2.0]], dtype=np.float32), "FP32", (-1, 2)),
        (np.array(["late"]), "BYTES", (-1,)),
        (pd.Series([1.5]), "FP64", (-1,)),
        ([3], "INT64", (-1,)),
        (np.array([2.5], dtype=object), "FP64", (-1,)),
    ],
)
def test_the_sample_tells_columns_and_outputs(answer: Any, datatype: str, shape: tuple[int, ...]) -> None:
    sample = pd.DataFrame({"day": ["Mo"], "n": [3], "x": [0.5], "on": [True]})
    model = CustomModel(Plain(lambda _: answer, sample=sample))
    assert [t.datatype for t in model.inputs] == ["BYTES", "INT64", "FP64", "BOOL"]
    [output] = model.outputs
    assert (output.datatype, output.shape) == (datatype, shape)
    assert model.sample == b'[{"day":"Mo","n":3,"x":0.5,"on":true}]'


@pytest.mark.parametrize(
    ("predict", "status", "message"),
    [
        (lambda data: np.zeros(1), 500, "1 predictions for 2 rows"),
        (lambda data: 5.0, 500, "one value for 2 rows"),
        (lambda data: None, 500, "one value for 2 rows"),
        (lambda data: data["missing"], 500, "it raised KeyError: 'missing'"),
        (lambda data: np.zeros(2, dtype=complex), 500, "an array of complex128"),
        (lambda data: np.array(["a", "b"]), 500, "BYTES, not FP64"),
        (lambda data: int("x\ny"), 422, "The model refused the input: ValueError"),
        (lambda data: [[1], [1, 2]], 500, "it gave no array"),
        (lambda data: exit("bye"), 500, "it raised SystemExit: bye"),
    ],
)
def test_what_a_model_does_wrong_is_said_in_a_sentence(predict: Any, status: int, message: str) -> None:
    model = CustomModel(Plain(predict, columns=["a"]))
    with pytest.raises(Problem, match=message) as raised:
        asked(model, b'[{"a": 1}, {"a": 2}]')
    assert raised.value.status == status
    assert "\n" not in raised.value.error
    assert raised.value.error.endswith(".")


def test_an_answer_never_loses_what_it_says() -> None:
    answers = iter([[3], [4], [2.5], ["x"]])
    model = CustomModel(Plain(lambda data: next(answers), sample=pd.DataFrame({"a": [1]})))
    assert asked(model, b'[{"a": 1}]') == b"[4]"
    for datatype in ("FP64", "BYTES"):
        with pytest.raises(Problem, match=f"it answers {datatype}, not INT64 as for its sample row"):
            asked(model, b'[{"a": 1}]')


def test_columns_of_several_lengths_are_refused() -> None:
    model = CustomModel(Plain(lambda data: data["a"], columns=["a", "b"]))
    with pytest.raises(Problem) as refused:
        model.predict({"a": np.zeros((2, 1)), "b": np.zeros((3, 1))}, [OUTPUT])
    assert (refused.value.status, refused.value.reason) == (422, "InputRefused")


def test_the_trace_of_a_bug_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    model = CustomModel(Plain(lambda data: 1 / 0, columns=["a"]))
    with caplog.at_level(logging.ERROR), pytest.raises(Problem):
        asked(model, b'[{"a": 1}]')
    assert "ZeroDivisionError" in caplog.text


def test_a_sample_that_is_not_answered_fails_the_load() -> None:
    sample = pd.DataFrame({"a": [1]})
    with pytest.raises(
        ProbeFailed, match="does not answer its own sample row: The model failed: it raised KeyError"
    ):
        CustomModel(Plain(lambda data: data["b"], sample=sample))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({}, "made a dict, which cannot predict"),
        (Plain(len, sample=[1]), "`sample` is a list"),
        (Plain(len, sample=pd.DataFrame()), "`sample` is a DataFrame, not a DataFrame with a row"),
        (Plain(len, sample=pd.DataFrame({"t": pd.to_datetime(["2026-01-01"])})), "holds times"),
        (Plain(len, columns={"a": "float"}), "'a' is of 'float'; known are BOOL"),
    ],
)
def test_what_cannot_be_served_is_refused_when_it_is_loaded(model: Any, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        CustomModel(model)


@pytest.mark.parametrize(("thread_safe", "together"), [(False, 1), (True, 2)])
def test_calls_are_one_at_a_time_unless_the_model_says_otherwise(thread_safe: bool, together: int) -> None:
    inside, most = 0, 0
    count = threading.Lock()
    met = threading.Event()

    def predict(data: pd.DataFrame) -> Any:
        nonlocal inside, most
        with count:
            inside += 1
            most = max(most, inside)
            if inside == 2:
                met.set()
        met.wait(10.0 if thread_safe else 0.05)
        with count:
            inside -= 1
        return data["a"]

    model = CustomModel(Plain(predict, columns=["a"], thread_safe=thread_safe))
    threads = [threading.Thread(target=asked, args=(model, b'[{"a": 1}]')) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == together


def test_a_format_that_nobody_installed_says_what_is_missing() -> None:
    with pytest.raises(LoadError, match="'no-such-format' is installed here"):
        opener("no-such-format")


def install(folder: Path, code: str) -> None:
    (folder / "broken_format.py").write_text(code)
    information = folder / "broken_format-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-format\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[tenantry.models]\nbroken = broken_format:open_file\n")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_package", "cannot be imported: ModuleNotFoundError"),
        ("def open_file(path): raise KeyError('weights')", "does not open the file: KeyError: 'weights'"),
        ("def open_file(path): return None", "made a NoneType"),
        (
            "class open_file:\n"
            "    def __init__(self, path): pass\n"
            "    predict = sample = property(lambda self: 1 / 0)",
            "does not open the file: ZeroDivisionError",
        ),
    ],
)
def test_a_package_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    install(tmp_path, code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_format", raising=False)
    (tmp_path / "file").write_text("{}")
    with pytest.raises(LoadError, match=message):
        opener("broken")(tmp_path / "file")
