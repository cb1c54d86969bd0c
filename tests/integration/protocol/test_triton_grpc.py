"""tritonclient over gRPC, as it comes: raw contents, its own messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from integration.protocol.conftest import Served
from tenantry_core.values import AnyArray
from tenantry_core.version import VERSION


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    with triton.InferenceServerClient(served.grpc) as client:
        yield client


def tensor(name: str, array: AnyArray, datatype: str = "FP32") -> Any:
    given = triton.InferInput(name, array.shape, datatype)
    given.set_data_from_numpy(array)
    return given


def pair(a: list[float], b: list[float]) -> list[Any]:
    return [tensor(name, np.array(v, np.float32).reshape(-1, 1)) for name, v in (("a", a), ("b", b))]


def test_the_server_says_what_it_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata(as_json=True)
    assert (metadata["name"], metadata["version"]) == ("tenantry", VERSION)
    assert "binary_tensor_data" in metadata["extensions"]


def test_a_model_says_what_it_takes_and_gives(client: Any, served: Served) -> None:
    metadata = client.get_model_metadata("pair")
    assert (metadata.name, list(metadata.versions)) == ("pair", [served.versions["pair"]])
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("a", "FP32", [-1, 1]),
        ("b", "FP32", [-1, 1]),
    ]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.outputs] == [
        ("both", "FP32", [-1, 2]),
        ("sum", "FP32", [-1, 1]),
    ]
    assert client.get_model_metadata("pair", served.versions["pair"][:12]) == metadata


def test_readiness_is_of_a_model_and_of_a_version(client: Any, served: Served) -> None:
    assert client.is_model_ready("acme")
    assert client.is_model_ready("acme", served.versions["acme"][:12])
    assert not client.is_model_ready("new")
    for model, version in (("nobody", ""), ("", ""), ("acme", "0" * 12)):
        with pytest.raises(InferenceServerException) as caught:
            client.is_model_ready(model, version)
        assert caught.value.status() == "StatusCode.NOT_FOUND"


def test_the_index_lists_what_there_is(client: Any, served: Served) -> None:
    index = {model.name: model for model in client.get_model_repository_index().models}
    assert (index["acme"].version, index["acme"].state) == (served.versions["acme"][:12], "READY")
    assert (index["new"].state, index["new"].reason) == ("UNAVAILABLE", "FirstLoad")


def test_every_datatype_comes_back_as_it_went(client: Any, arrays: dict[str, AnyArray]) -> None:
    given = [tensor(name, array, name.removeprefix("in_")) for name, array in arrays.items()]
    result = client.infer("echo", given, request_id="r-1")
    assert result.get_response().id == "r-1"
    for name, array in arrays.items():
        read = result.as_numpy(name.replace("in_", "out_"))
        if name == "in_BYTES":
            assert [value.decode() for value in read.reshape(-1)] == array.reshape(-1).tolist()
        else:
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)


def test_outputs_come_in_the_order_in_which_they_are_asked_for(client: Any) -> None:
    outputs = [triton.InferRequestedOutput("sum"), triton.InferRequestedOutput("both")]
    result = client.infer("pair", pair([1, 2], [10, 20]), outputs=outputs)
    assert [output.name for output in result.get_response().outputs] == ["sum", "both"]
    assert result.as_numpy("sum").tolist() == [[11], [22]]
    assert result.as_numpy("both").tolist() == [[1, 10], [2, 20]]


def test_the_user_of_a_model_per_user_is_a_parameter_or_metadata(client: Any) -> None:
    given = [tensor("input", np.array([[3, 1]], np.float32))]
    for user, answer in (("1", 3.0), ("2", 6.0)):
        result = client.infer("personal", given, parameters={"user_id": user, "level": 3})
        assert result.as_numpy("variable").tolist() == [[answer]]
        result = client.infer("personal", given, headers={"tenantry-user": f"personal:{user}"})
        assert result.as_numpy("variable").tolist() == [[answer]]
        headers = {"tenantry-tenant": "personal", "tenantry-user": user}
        result = client.infer("personal", given, headers=headers)
        assert result.as_numpy("variable").tolist() == [[answer]]


def test_a_version_may_be_asked_for(client: Any, served: Served) -> None:
    digits = served.versions["pair"]
    result = client.infer("pair", pair([1], [2]), model_version=digits[:12])
    assert result.get_response().model_version == digits


@pytest.mark.parametrize(
    ("model", "status", "sentence"),
    [
        ("nobody", "NOT_FOUND", "There is no model 'nobody'"),
        ("", "NOT_FOUND", "There is no model ''"),
        ("twin", "FAILED_PRECONDITION", "blue.twin, green.twin"),
        ("new", "UNAVAILABLE", "cannot answer"),
        ("stranded", "UNAVAILABLE", "No predictor of its pool"),
        ("personal", "INVALID_ARGUMENT", "parameters.user_id"),
        ("acme", "INVALID_ARGUMENT", "Input 'input' is missing"),
    ],
)
def test_errors_are_sentences(client: Any, model: str, status: str, sentence: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, pair([1], [2]))
    assert caught.value.status() == f"StatusCode.{status}"
    assert sentence in caught.value.message()


def test_inputs_of_different_length_are_told_apart_in_our_words(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="'a' has 3, 'b' has 2"):
        client.infer("pair", pair([1, 2, 3], [1, 2]))


def test_another_tenants_model_is_refused(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="not one of tenant 'pair'") as caught:
        client.infer("acme", pair([1], [2]), headers={"tenantry-tenant": "pair"})
    assert caught.value.status() == "StatusCode.PERMISSION_DENIED"
    with pytest.raises(InferenceServerException) as caught:
        client.get_model_metadata("acme", headers={"tenantry-tenant": "pair"})
    assert caught.value.status() == "StatusCode.PERMISSION_DENIED"


def test_a_user_without_an_artifact_is_unknown(client: Any) -> None:
    given = [tensor("input", np.array([[3, 1]], np.float32))]
    with pytest.raises(InferenceServerException) as caught:
        client.infer("personal", given, parameters={"user_id": "3"})
    assert caught.value.status() == "StatusCode.NOT_FOUND"
