"""tritonclient over HTTP, as it comes: binary by default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from integration.protocol.conftest import Served
from tenantry_core.values import AnyArray
from tenantry_core.version import VERSION


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    with triton.InferenceServerClient(served.http) as client:
        yield client


def inputs_of(arrays: dict[str, AnyArray], **options: Any) -> list[Any]:
    given = []
    for name, array in arrays.items():
        given.append(triton.InferInput(name, array.shape, name.removeprefix("in_")))
        given[-1].set_data_from_numpy(array, **options)
    return given


def pair(a: list[float], b: list[float], **options: Any) -> list[Any]:
    given = []
    for name, values in (("a", a), ("b", b)):
        array = np.array(values, np.float32).reshape(-1, 1)
        given.append(triton.InferInput(name, array.shape, "FP32"))
        given[-1].set_data_from_numpy(array, **options)
    return given


def texts(array: AnyArray) -> list[Any]:
    """Strings, which the client gives as bytes."""
    return [value.decode() if isinstance(value, bytes) else value for value in array.reshape(-1).tolist()]


def test_the_server_says_what_it_is(client: Any, served: Served) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert (metadata["name"], metadata["version"]) == ("tenantry", VERSION)
    assert "binary_tensor_data" in metadata["extensions"]


def test_a_model_says_what_it_takes_and_gives(client: Any, served: Served) -> None:
    metadata = client.get_model_metadata("pair")
    assert metadata == {
        "name": "pair",
        "versions": [served.versions["pair"]],
        "platform": "onnx",
        "inputs": [{"name": name, "datatype": "FP32", "shape": [-1, 1]} for name in ("a", "b")],
        "outputs": [
            {"name": "both", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "sum", "datatype": "FP32", "shape": [-1, 1]},
        ],
    }
    assert client.get_model_metadata("pair", served.versions["pair"][:12]) == metadata


def test_readiness_is_of_a_model_and_of_a_version(client: Any, served: Served) -> None:
    version = served.versions["acme"][:12]
    assert client.is_model_ready("acme")
    assert client.is_model_ready("acme", version)
    assert not client.is_model_ready("acme", "0" * 12)
    assert not client.is_model_ready("new")
    assert not client.is_model_ready("nobody")


def test_the_index_lists_what_there_is(client: Any, served: Served) -> None:
    index = {model["name"]: model for model in client.get_model_repository_index()}
    assert index["acme"] == {
        "name": "acme",
        "version": served.versions["acme"][:12],
        "state": "READY",
        "reason": "",
    }
    assert index["new"] == {"name": "new", "version": "", "state": "UNAVAILABLE", "reason": "FirstLoad"}
    assert {"blue.twin", "green.twin"} <= index.keys()


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_every_datatype_comes_back_as_it_went(
    client: Any, arrays: dict[str, AnyArray], binary_input: bool, binary_output: bool
) -> None:
    outputs = [
        triton.InferRequestedOutput(name.replace("in_", "out_"), binary_data=binary_output) for name in arrays
    ]
    given = inputs_of(arrays, binary_data=binary_input)
    result = client.infer("echo", given, outputs=outputs, request_id="r-1")
    assert result.get_response()["id"] == "r-1"
    for name, array in arrays.items():
        read = result.as_numpy(name.replace("in_", "out_"))
        if name == "in_BYTES":
            assert texts(read) == texts(array)
        else:
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)


def test_without_a_word_about_outputs_all_come_back_in_bytes(client: Any) -> None:
    result = client.infer("pair", pair([1, 2], [10, 20]))
    outputs = result.get_response()["outputs"]
    assert [(output["name"], output["parameters"]) for output in outputs] == [
        ("both", {"binary_data_size": 16}),
        ("sum", {"binary_data_size": 8}),
    ]
    assert result.as_numpy("both").tolist() == [[1, 10], [2, 20]]
    assert result.as_numpy("sum").tolist() == [[11], [22]]


def test_inputs_and_outputs_may_each_be_of_another_form(client: Any) -> None:
    a, b = pair([1], [10])
    b.set_data_from_numpy(np.array([[10]], np.float32), binary_data=False)
    outputs = [
        triton.InferRequestedOutput("sum", binary_data=False),
        triton.InferRequestedOutput("both", binary_data=True),
    ]
    result = client.infer("pair", [b, a], outputs=outputs)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["sum", "both"]
    assert result.as_numpy("sum").tolist() == [[11]]
    assert result.as_numpy("both").tolist() == [[1, 10]]


def test_a_version_may_be_asked_for(client: Any, served: Served) -> None:
    digits = served.versions["pair"]
    result = client.infer("pair", pair([1], [2]), model_version=digits[:12])
    assert result.get_response()["model_version"] == digits
    with pytest.raises(InferenceServerException, match=f"only {digits[:12]}") as caught:
        client.infer("pair", pair([1], [2]), model_version="0" * 12)
    assert caught.value.status() == "404"


def test_parameters_are_taken_and_one_of_them_names_the_user(client: Any) -> None:
    given = triton.InferInput("input", [1, 2], "FP32")
    given.set_data_from_numpy(np.array([[3, 1]], np.float32))
    for user, answer in (("1", 3.0), ("2", 6.0)):
        parameters = {"user_id": user, "trace": "x", "level": 3, "exact": True}
        result = client.infer("personal", [given], parameters=parameters, priority=1, timeout=1_000_000)
        assert result.as_numpy("variable").tolist() == [[answer]]
    headers = {"Tenantry-User": "personal:2"}
    assert client.infer("personal", [given], headers=headers).as_numpy("variable").tolist() == [[6.0]]


@pytest.mark.parametrize(
    ("model", "status", "sentence"),
    [
        ("nobody", "404", "There is no model 'nobody'"),
        ("twin", "409", "blue.twin, green.twin"),
        ("new", "503", "cannot answer"),
        ("stranded", "503", "No predictor of its pool"),
        ("personal", "400", "Tenantry-User"),
        ("acme", "422", "Input 'input' is missing"),
    ],
)
def test_errors_are_sentences(client: Any, model: str, status: str, sentence: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, pair([1], [2]))
    assert caught.value.status() == status
    assert sentence in caught.value.message()


def test_inputs_of_different_length_are_told_apart_in_our_words(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="'a' has 3, 'b' has 2") as caught:
        client.infer("pair", pair([1, 2, 3], [1, 2]))
    assert caught.value.status() == "422"


def test_another_tenants_model_is_refused(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="not one of tenant 'pair'") as caught:
        client.infer("acme", pair([1], [2]), headers={"Tenantry-Tenant": "pair"})
    assert caught.value.status() == "403"
