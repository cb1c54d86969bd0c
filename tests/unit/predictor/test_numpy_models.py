"""Graphs that numpy computes: what ONNX Runtime answers for the same file, from a hundredth of the memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

from artifacts import graphs
from tenantry_core.problems import Problem
from tenantry_core.values import DATATYPES, AnyArray
from tenantry_predictor.runtimes import onnx as onnx_files
from tenantry_predictor.runtimes.base import LoadedModel
from tenantry_predictor.runtimes.columns import columns_of
from tenantry_predictor.runtimes.conversion import convert
from unit.predictor.growth import growth

SMALL = 15_000
"""Bytes. A session takes more."""
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]

_rng = np.random.default_rng(5)
TABLE = pd.DataFrame(_rng.normal(size=(60, 3)), columns=["age", "visits", "spent"])
CITIES = TABLE.assign(city=_rng.choice(["Oslo", "Bergen"], 60))
AMOUNT = TABLE["age"] * 2 + TABLE["visits"] + _rng.normal(size=60)
LEVEL = np.array(["low", "middle", "high"])[np.digitize(AMOUNT, [-1, 1])]
LARGE = AMOUNT.to_numpy() > 0

MODELS: dict[str, tuple[Any, pd.DataFrame, Any]] = {
    "linear": (Ridge(), TABLE, AMOUNT),
    "scaled": (make_pipeline(StandardScaler(), Ridge()), TABLE, AMOUNT),
    "two targets": (make_pipeline(MinMaxScaler(), Ridge()), TABLE, np.c_[AMOUNT, -AMOUNT]),
    "imputed": (make_pipeline(SimpleImputer(), Ridge()), TABLE, AMOUNT),
    "rotated": (make_pipeline(PCA(2), Ridge()), TABLE, AMOUNT),
    "counts": (PoissonRegressor(), TABLE, np.abs(AMOUNT)),
    "some columns": (
        make_pipeline(
            ColumnTransformer([("n", StandardScaler(), ["age", "spent"])], remainder="passthrough"), Ridge()
        ),
        TABLE,
        AMOUNT,
    ),
    "categories": (
        make_pipeline(
            ColumnTransformer(
                [("c", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="passthrough"
            ),
            Ridge(),
        ),
        CITIES,
        AMOUNT,
    ),
    "two classes": (make_pipeline(StandardScaler(), LogisticRegression()), TABLE, LARGE.astype(int)),
    "true and false": (LogisticRegression(), TABLE, LARGE),
    "three classes": (LogisticRegression(), TABLE, LEVEL),
    "margins": (LinearSVC(), TABLE, LEVEL),
    "one score": (SGDClassifier(loss="log_loss"), TABLE, LEVEL == "high"),
    "network": (MLPRegressor(hidden_layer_sizes=(8, 4), max_iter=5), TABLE, AMOUNT),
    "network of classes": (
        MLPClassifier(hidden_layer_sizes=(8,), activation="tanh", max_iter=5),
        TABLE,
        LEVEL,
    ),
}


@cache
def published(name: str) -> bytes:
    model, table, target = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # networks do not converge in five rounds
        model.fit(table, target)
    return convert(model, columns_of(model, table), sample=table)


def session(data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    # As the file says: optimised, a factor beside a product of doubles becomes one of single precision.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(data, options)


def rows(model: LoadedModel) -> dict[str, AnyArray]:
    """The table as the model takes it, with a row of NaN, one of infinities and a category never seen."""
    given_rows = pd.concat([CITIES, CITIES.head(2)], ignore_index=True)
    given_rows.loc[60, ["age", "visits", "spent"]] = np.nan
    given_rows.loc[61, ["age", "visits", "spent"]] = [np.inf, -np.inf, 1]
    given_rows.loc[61, "city"] = "Narvik"
    if len(model.inputs) == 1:
        names = list(model.columns)
        return {model.inputs[0].name: given_rows[names].to_numpy(DATATYPES[model.inputs[0].datatype])}
    return {one.name: given_rows[[one.name]].to_numpy(DATATYPES[one.datatype]) for one in model.inputs}


def assert_alike(answer: AnyArray, expected: AnyArray) -> None:
    assert (answer.dtype, answer.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=2e-6)
    else:
        assert answer.tolist() == expected.tolist()


@pytest.mark.parametrize("name", MODELS)
def test_it_is_what_onnx_runtime_makes_of_the_file(name: str) -> None:
    data = published(name)
    model, other = onnx_files.load_bytes(data), session(data)
    assert model.size_bytes < SMALL
    assert [one.name for one in model.inputs] == [one.name for one in other.get_inputs()]
    for tensors, nodes in ((model.inputs, other.get_inputs()), (model.outputs, other.get_outputs())):
        assert [(one.name, one.shape) for one in tensors] == [
            (node.name, tuple(size or -1 for size in node.shape)) for node in nodes
        ]
    assert model.columns == tuple(MODELS[name][1].columns)
    assert model.sample
    asked = rows(model)
    outputs = [one.name for one in model.outputs]
    for some in (asked, {name: array[:1] for name, array in asked.items()}):
        expected = dict(zip(outputs, other.run(outputs, some), strict=True))
        together = model.predict(some, outputs)
        for output in outputs:
            assert_alike(together[output], expected[output])
            assert_alike(model.predict(some, [output])[output], expected[output])


def test_other_graphs_are_sessions() -> None:
    model = make_pipeline(PolynomialFeatures(2), Ridge()).fit(TABLE, AMOUNT)
    others = [convert(model, columns_of(model)), graphs.matrices(), graphs.logarithm(), graphs.mixed()]
    others.append(graphs.linear([1.0] * 20_000))  # more weights than are worth it
    assert all(onnx_files.load_bytes(data).size_bytes > SMALL for data in others)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "'input' is missing"),
        ({"input": np.zeros((1, 5), np.float32)}, r"shape \[1, 5\], expected \[-1, 2\]"),
        ({"input": np.zeros(2, np.float32)}, r"shape \[2\], expected"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(asked: Mapping[str, AnyArray], sentence: str) -> None:
    with pytest.raises(Problem, match=sentence) as caught:
        onnx_files.load_bytes(graphs.linear()).predict(asked, ["variable"])
    assert (caught.value.status, caught.value.reason) == (422, "InputRefused")


def test_an_answer_that_is_too_large_is_refused() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
    wide = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 8192])
    weights = numpy_helper.from_array(np.ones((1, 8192), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "wide", [value], [wide], [weights]
    )
    model = onnx_files.load_bytes(serialised(graph))
    with pytest.raises(Problem, match="larger than 64 MiB") as caught:
        model.predict({"x": np.ones((3000, 1), np.float32)}, ["y"])
    assert caught.value.status == 422


def _chain(*nodes: onnx.NodeProto, width: int | None = None, **weights: Any) -> bytes:
    """From x, [rows, 2], to y: [rows] or [rows, width]."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2])
    shape: list[str | int] = ["rows"] if width is None else ["rows", width]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    initial = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    return serialised(helper.make_graph(list(nodes), "chain", [x], [y], initial))


def test_one_value_a_row_stays_one_value_a_row() -> None:
    data = _chain(
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("Add", ["b", "k"], ["y"]),
        w=np.array([1, 2], np.float32),
        k=np.array(3, np.float32),
    )
    asked = {"x": np.zeros((3, 2), np.float32)}
    model = onnx_files.load_bytes(data)
    assert model.size_bytes < SMALL
    assert_alike(model.predict(asked, ["y"])["y"], session(data).run(["y"], asked)[0])


def test_what_grows_far_beyond_its_rows_is_a_session() -> None:
    steps = [helper.make_node("Sigmoid", [f"v{n}"], [f"v{n + 1}"]) for n in range(30)]
    data = _chain(
        helper.make_node("MatMul", ["x", "w"], ["v0"]),
        *steps,
        helper.make_node("MatMul", ["v30", "u"], ["y"]),
        width=1,
        w=np.ones((2, 400), np.float32),
        u=np.ones((400, 1), np.float32),
    )
    assert onnx_files.load_bytes(data).size_bytes > SMALL


def test_inputs_of_different_rows_are_refused_in_words() -> None:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 1]) for name in "ab"]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])
    node = helper.make_node("Concat", ["a", "b"], ["y"], axis=1)
    model = onnx_files.load_bytes(serialised(helper.make_graph([node], "two", inputs, [output])))
    with pytest.raises(Problem) as caught:
        model.predict({"a": np.ones((2, 1), np.float32), "b": np.ones((3, 1), np.float32)}, ["y"])
    assert (caught.value.status, caught.value.reason) == (422, "InputRefused")


def test_models_of_a_kind_share_all_but_their_weights() -> None:
    first, *others = (onnx_files.load_bytes(graphs.linear([i, 77], columns=("kind", "of"))) for i in range(5))
    assert all(other.size_bytes < 2_000 < first.size_bytes for other in others)
    asked = {"input": np.array([[1, 2]], np.float32)}
    answers = [model.predict(asked, ["variable"])["variable"].item() for model in (first, *others)]
    assert answers == [154.0, 155.0, 156.0, 157.0, 158.0]


def test_sizes_add_up_to_what_the_process_grows_by() -> None:
    grown, known = growth(LOADS, first=300, last=3300)
    assert 0.6 * known < grown < 1.4 * known


LOADS = """
from tenantry_predictor.repositories.base import Key
from tenantry_predictor.repositories.memory import MemoryTier

tier = MemoryTier(1 << 30, lambda model: None)

def load(number):
    data = graphs.linear([number, 2, 3, 4], columns="abcd", sample=[dict.fromkeys("abcd", 0.5)])
    entry = tier.add(Key("acme", graphs.digest(data), "onnx"), onnx.load_bytes(data))
    entry.requests["models.%d" % number] = 1
    tier.release(entry)

def used_bytes():
    return tier.used_bytes
"""

# Chains of layers, with what their results can be off by

finite = st.floats(-100, 100, width=32)
special = st.sampled_from([np.nan, np.inf, -np.inf])


@st.composite
def chains(draw: st.DrawFn) -> tuple[bytes, AnyArray, AnyArray]:
    """A file, rows for it, and for each value of its answer what rounding can change of it."""
    dtype = np.dtype(draw(st.sampled_from(["float32", "float64"])))
    width, count = draw(st.integers(1, 6)), draw(st.sampled_from([0, 1, 2, 5, 17]))

    def array(shape: tuple[int, ...], values: st.SearchStrategy[float] = finite) -> AnyArray:
        size = int(np.prod(shape))
        return np.array(draw(st.lists(values, min_size=size, max_size=size)), dtype).reshape(shape)

    x = array((count, width), finite | special)
    inputs = [_info("x", dtype, width)]
    # What is infinite or NaN is so to the end, or exactly nothing after Relu.
    magnitude = np.where(np.isfinite(x), np.abs(x), 0).astype(np.float64)
    nodes, weights, roundings, value = [], [], 1, "x"
    for at in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["Sub", "Add", "Mul", "Div", "MatMul", "Gemm", "Relu", "Identity"]))
        result, constants, given_to = f"v{at}", [], dict[str, Any]()
        if kind in ("MatMul", "Gemm"):
            outer = draw(st.integers(1, 4))
            matrix = array((width, outer))
            constants = [matrix]
            with np.errstate(all="ignore"):
                magnitude = magnitude @ np.abs(matrix)
            roundings += width
            if kind == "Gemm":
                constants = [matrix.T.copy(), array((outer,))]
                given_to = {"transB": 1}
                magnitude = magnitude + np.abs(constants[1])
            width = outer
        elif kind in ("Sub", "Add", "Mul", "Div"):
            shape = draw(st.sampled_from([(width,), (1, width), (1,), ()]))
            constants = [array(shape, finite.filter(lambda one: abs(one) > 0.01))]
            size = np.abs(constants[0])
            by = {"Sub": magnitude + size, "Add": magnitude + size, "Mul": magnitude * size}
            magnitude = by.get(kind, magnitude / size)
        names = [f"w{at}_{place}" for place in range(len(constants))]
        weights += [numpy_helper.from_array(one, name) for one, name in zip(constants, names, strict=True)]
        nodes.append(helper.make_node(kind, [value, *names], [result], **given_to))
        value, roundings = result, roundings + 1
    nodes.append(helper.make_node("Mul", [value, "one"], ["y"]))
    weights.append(numpy_helper.from_array(np.ones(1, dtype), "one"))
    graph = helper.make_graph(nodes, "chain", inputs, [_info("y", dtype, width)], weights)
    # Each operation rounds once; two computations may round to either side.
    return serialised(graph), x, 2 * roundings * np.finfo(dtype).eps * magnitude


def _info(name: str, dtype: np.dtype[Any], width: int) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), ["rows", width])


def serialised(graph: onnx.GraphProto) -> bytes:
    return bytes(helper.make_model(graph, ir_version=8, opset_imports=OPSETS).SerializeToString())


@given(chains())
def test_any_chain_of_layers_is_answered_alike(chain: tuple[bytes, AnyArray, AnyArray]) -> None:
    data, x, bound = chain
    model = onnx_files.load_bytes(data)
    assert model.size_bytes < SMALL
    answer, [expected] = model.predict({"x": x}, ["y"])["y"], session(data).run(["y"], {"x": x})
    assert (answer.dtype, answer.shape) == (expected.dtype, expected.shape)
    same = (answer == expected) | (np.isnan(answer) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        assert np.all(same | (np.abs(answer - expected) <= bound))
