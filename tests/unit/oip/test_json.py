"""The Open Inference Protocol's JSON: what is sent is what the model gets, and every misfit is named."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tenantry_core.oip import json_codec
from tenantry_core.oip.messages import Answerer, InferRequest, Output
from tenantry_core.oip.tensors import read_inputs, select_outputs
from tenantry_core.problems import Problem
from tenantry_core.values import DATATYPES
from tenantry_core.wire import Tensor

INPUTS = (Tensor("x", "FP32", (-1, 2)), Tensor("name", "BYTES", (-1,)))


def request(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


def tensor(name: str, shape: list[int], datatype: str, data: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **more}


X = tensor("x", [1, 2], "FP32", [1, 2])
BINARY = {"parameters": {"binary_data_size": 8}}
NAME = tensor("name", [1], "BYTES", ["a"])


def refusal(body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        read_inputs(json_codec.decode(body).inputs, INPUTS)
    return caught.value


def test_inputs_become_arrays_of_the_models_datatypes() -> None:
    arrays = read_inputs(json_codec.decode(request(NAME, X)).inputs, INPUTS)
    assert arrays["x"].dtype == np.float32
    assert arrays["x"].tolist() == [[1, 2]]
    assert arrays["name"].tolist() == ["a"]


def test_data_may_be_nested() -> None:
    nested = tensor("x", [2, 2], "FP32", [[1, 2], [3, 4]])
    arrays = read_inputs(json_codec.decode(request(nested, NAME)).inputs, INPUTS)
    assert arrays["x"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("datatype", ["FP64", "FP16", "INT64", "UINT8"])
def test_numbers_of_other_datatypes_are_taken_for_floats(datatype: str) -> None:
    sent = tensor("x", [1, 2], datatype, [1, 2])
    assert read_inputs(json_codec.decode(request(sent, NAME)).inputs, INPUTS)["x"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"", 400, "no inference request"),
        (b"[]", 400, "no inference request"),
        (b"{}", 400, "inputs"),
        (b"[" * 100_000, 400, "no inference request"),
        (b'{"inputs":' + b"[" * 100_000, 400, "no inference request"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * 100_000, 400, "too deeply"),
        (request(tensor("x", [1, 2], "FP32", float("nan"))), 400, "no inference request"),
        (request({"name": "x", "shape": [1, 2], "datatype": "FP32"}, NAME), 400, "neither data nor"),
        (
            request({"name": "x", "shape": [1, 2], "datatype": "FP32"} | BINARY, NAME),
            400,
            "no Inference-Header-Content-Length",
        ),
        (request(X), 422, "Input 'name' is missing"),
        (request(X, NAME, tensor("z", [1], "FP32", [1])), 422, "no input 'z'"),
        (request(X, X, NAME), 422, "twice"),
        (request(tensor("x", [2], "FP32", [1, 2]), NAME), 422, "shape [2], but the model takes [-1, 2]"),
        (request(tensor("x", [1, 3], "FP32", [1, 2, 3]), NAME), 422, "shape [1, 3]"),
        (request(tensor("x", [0, 2], "FP32", []), NAME), 422, "shape [0, 2]"),
        (request(tensor("x", [-1, 2], "FP32", [1, 2]), NAME), 422, "shape [-1, 2]"),
        (request(tensor("x", [2, 2], "FP32", [1, 2, 3]), NAME), 422, "3 values"),
        (request(tensor("x", [2, 2], "FP32", [[1, 2], [3]]), NAME), 422, "nested"),
        (request(tensor("x", [10**12, 2], "FP32", [1, 2]), NAME), 422, "values"),
        (request(tensor("x", [1, 2], "FP99", [1, 2]), NAME), 422, "'FP99' is no datatype"),
        (request(tensor("x", [1, 2], "BYTES", ["1", "2"]), NAME), 422, "is BYTES, but the model takes FP32"),
        (request(tensor("x", [1, 2], "FP32", [1, "2"]), NAME), 422, "value 1: expected a number"),
        (request(X, tensor("name", [1], "BYTES", [1])), 422, "value 0: expected a string"),
        (request(tensor("x", [1, 2], "FP32", [1, 1e39]), NAME), 422, "does not fit into FP32"),
    ],
)
def test_misfits_are_named(body: bytes, status: int, sentence: str) -> None:
    problem = refusal(body)
    assert problem.status == status
    assert sentence in problem.error


def test_outputs_are_all_or_those_asked_for() -> None:
    outputs = (Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 2)))
    every = select_outputs(InferRequest([]), outputs)
    assert [output.tensor.name for output in every] == ["label", "probabilities"]
    both = [{"name": "probabilities"}, {"name": "label"}, {"name": "probabilities"}]
    asked = select_outputs(json_codec.decode(request(outputs=both)), outputs)
    assert [output.tensor.name for output in asked] == ["probabilities", "label"]
    with pytest.raises(Problem, match="no output 'margin'"):
        select_outputs(json_codec.decode(request(outputs=[{"name": "margin"}])), outputs)


def test_null_stands_for_parameters_that_are_left_out() -> None:
    sent = request(
        X | {"parameters": None}, NAME, parameters=None, outputs=[{"name": "y", "parameters": None}]
    )
    assert len(json_codec.decode(sent).inputs) == 2


def test_parameters_that_nobody_knows_are_taken() -> None:
    more = {"parameters": {"trace": "7", "priority": 1, "debug": True}}
    assert len(json_codec.decode(request(X | more, NAME, **more)).inputs) == 2


def test_an_extension_that_is_not_offered_is_refused() -> None:
    asked = [{"name": "y", "parameters": {"classification": 3}}]
    with pytest.raises(Problem, match="classification"):
        json_codec.decode(request(X, NAME, outputs=asked))


shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)


@given(st.data(), st.sampled_from(sorted(DATATYPES)), shapes)
def test_what_an_answer_holds_can_be_sent_back(
    data: st.DataObject, datatype: str, shape: tuple[int, ...]
) -> None:
    dtype = DATATYPES[datatype]
    elements = (
        st.text(max_size=4)
        if datatype == "BYTES"
        else hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    )
    array = data.draw(hnp.arrays(dtype, shape, elements=elements))
    described = Tensor("t", datatype, (-1, *shape[1:]))
    payload = json_codec.encode(Answerer("m", "v"), "7", [Output(described, False)], {"t": array})
    answer = json.loads(payload.body)
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("m", "v", "7")
    [output] = answer["outputs"]
    read = read_inputs(json_codec.decode(request(output)).inputs, [described])["t"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("shape", [[0, 2], [-1, 2]])
def test_a_dimension_below_one_is_refused_in_words(shape: list[int]) -> None:
    problem = refusal(request(tensor("x", shape, "FP32", []), NAME))
    assert problem.status == 422
    assert "each dimension must be 1 or more" in problem.error
