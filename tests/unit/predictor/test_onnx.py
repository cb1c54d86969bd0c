"""ONNX files: what they offer, what they take in memory, and what is refused in words."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from artifacts import graphs
from tenantry_core.problems import Problem
from tenantry_predictor.runtimes import onnx
from tenantry_predictor.runtimes.base import LoadError
from unit.predictor.growth import growth


def classifier(*, zipmap: bool) -> bytes:
    from skl2onnx import to_onnx

    x = np.random.default_rng(1).random((50, 3), dtype=np.float32)
    model = LogisticRegression().fit(x, np.where(x[:, 0] > 0.5, "yes", "no"))
    data: bytes = to_onnx(model, x[:1], options={id(model): {"zipmap": zipmap}}).SerializeToString()
    return data


def test_true_names_datatypes_and_shapes() -> None:
    model = onnx.load_bytes(graphs.mixed())
    assert [(t.name, t.datatype, t.shape) for t in model.inputs] == [
        ("age", "FP32", (-1, 1)),
        ("visits", "INT64", (-1, 1)),
        ("city", "BYTES", (-1, 1)),
    ]
    assert [t.name for t in model.outputs] == ["total", "known"]
    assert model.columns == ("age", "visits", "city")
    assert model.sample == b'[{"age": 1.5, "visits": 2, "city": "Oslo"}]'


def test_classifier_gives_string_labels_and_probabilities() -> None:
    model = onnx.load_bytes(classifier(zipmap=False))
    rows = np.array([[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]], np.float32)
    answer = model.predict({"X": rows}, ["label", "probabilities"])
    assert answer["label"].tolist() == ["no", "yes"]
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-6)


def test_outputs_that_are_no_tensors_are_left_out() -> None:
    model = onnx.load_bytes(classifier(zipmap=True))
    assert [(t.name, t.datatype) for t in model.outputs] == [("output_label", "BYTES")]


def test_input_of_a_wrong_shape_is_422_in_words() -> None:
    with pytest.raises(Problem, match="refused the input") as caught:
        onnx.load_bytes(graphs.linear()).predict({"input": np.zeros((1, 5), np.float32)}, ["variable"])
    assert caught.value.status == 422
    assert "ONNXRuntimeError" not in caught.value.error


@pytest.mark.parametrize("keep", [0, 1, 40, 200, -1])
def test_truncated_file_is_refused(keep: int) -> None:
    with pytest.raises(LoadError) as caught:
        onnx.load_bytes(graphs.linear(range(100))[:keep])
    assert caught.value.reason == "LoadFailed"
    assert "ONNXRuntimeError" not in caught.value.message


@pytest.mark.parametrize("data", [b"garbage", bytes(1000), b"\x80\x04pickle", b"PK\x03\x04" + bytes(50)])
def test_bytes_that_are_no_onnx_are_refused(data: bytes) -> None:
    with pytest.raises(LoadError) as caught:
        onnx.load_bytes(data)
    assert caught.value.reason == "LoadFailed"


def test_external_data_is_refused() -> None:
    with pytest.raises(LoadError, match="external data"):
        onnx.load_bytes(graphs.external())


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [(("a",), "1 columns of 2"), (("a", "a"), "twice"), (("a", "b", "c"), "3 columns of 2")],
)
def test_column_names_must_suit_the_input(columns: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(LoadError, match=sentence):
        onnx.load_bytes(graphs.linear(columns=columns))


@pytest.mark.parametrize("padding", [1 << 16, 1 << 22])
def test_size_is_what_the_heap_grows_by(padding: int) -> None:
    data = graphs.linear(padding=padding)
    onnx.load_bytes(data)
    sizes = [model.size_bytes for model in [onnx.load_bytes(data) for _ in range(5)]]
    assert all(len(data) <= size < 2 * len(data) + 150_000 for size in sizes)


def test_sizes_add_up_to_what_the_process_grows_by() -> None:
    grown, known = growth(LOADS, first=20, last=120)
    assert 0.6 * known < grown < 1.4 * known


LOADS = """
data, kept = graphs.linear(padding=1 << 18), []

def load(number):
    kept.append(onnx.load_bytes(data))

def used_bytes():
    return sum(model.size_bytes for model in kept)
"""
