"""Predictions over real HTTP."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import pytest

from artifacts import graphs
from integration.predictor.conftest import Put
from integration.predictor.processes import PredictorProcess, problem
from integration.waiting import wait_for

DEAR = 1000
"""Rounds of a model that takes a second: long enough to be seen at work."""


def test_first_request_loads_the_next_finds_it_warm(predictor: PredictorProcess, put: Put) -> None:
    model = put(graphs.linear([1, 2]))
    first, second = (predictor.predict(model, [[3, 4]]) for _ in range(2))
    assert (first.status_code, first.json(), first.headers["tenantry-cache"]) == (200, [11.0], "miss")
    assert second.json() == [11.0]
    assert second.headers["tenantry-cache"].startswith("hit")
    assert "load;dur=" in first.headers["server-timing"]
    assert second.headers["server-timing"].startswith("predict;dur=")


def test_what_cannot_be_answered_at_once_is_refused_where_others_would_wait(
    predictor: PredictorProcess, put: Put
) -> None:
    model = put(graphs.linear([1, 5]))
    at_once = model | {"Tenantry-At-Once": "1"}
    refused = predictor.predict(at_once, [[3, 4]])
    assert (refused.status_code, problem(refused)["reason"]) == (503, "NotAtOnce")
    assert predictor.predict(model, [[3, 4]]).headers["tenantry-cache"] == "miss", "nothing was loaded for it"
    wait_for(lambda: predictor.predict(at_once, [[3, 4]]).status_code == 200, 60.0, "it is known to be cheap")
    assert predictor.predict(at_once, [[3, 4]] * 100_000).status_code == 503


def test_all_forms_of_a_table(predictor: PredictorProcess, put: Put) -> None:
    model = put(graphs.linear([1, 2], columns=["a", "b"]))
    for table in (
        [{"b": 4, "a": 3}],
        {"b": [4], "a": [3]},
        {"columns": ["b", "a"], "data": [[4, 3]]},
        [[3, 4]],
    ):
        assert predictor.predict(model, table).json() == [11.0]


def test_columns_of_several_types_and_the_choice_of_an_output(predictor: PredictorProcess, put: Put) -> None:
    model = put(graphs.mixed())
    table = [{"city": "Oslo", "visits": 2, "age": 1.5}, {"city": "Rome", "visits": 1, "age": None}]
    assert predictor.predict(model, table).json() == [3.5, None]
    assert predictor.predict(model, table, output="known").json() == [1, 0]
    refused = predictor.predict(model, table, output="margin")
    assert refused.status_code == 422
    assert "'total', 'known'" in problem(refused)["error"]


def test_non_finite_predictions_are_null(predictor: PredictorProcess, put: Put) -> None:
    assert predictor.predict(put(graphs.logarithm()), [[1], [0], [-1]]).json() == [0.0, None, None]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"", 400, "empty"),
        (b'[{"a":1,"b":NaN}]', 400, "write null"),
        (b"[" * 50_000, 400, "deeply"),
        (b"[]", 422, "no rows"),
        (b'[{"a":1}]', 422, "'b'"),
        (b'[{"a":1,"b":"2"}]', 422, "'b'"),
        (b"[[1,2],[3]]", 422, "Row 1"),
    ],
)
def test_bad_bodies_warm_and_cold(
    predictor: PredictorProcess, put: Put, body: bytes, status: int, sentence: str
) -> None:
    model = put(graphs.linear([1, len(body)], columns=["a", "b"]))
    for _ in range(2):
        refused = predictor.predict(model, body)
        assert refused.status_code == status
        assert sentence in problem(refused)["error"]


def test_inference_protocol_with_several_inputs(predictor: PredictorProcess, put: Put) -> None:
    model = put(graphs.matrices())
    request = {
        "id": "7",
        "inputs": [
            {"name": "b", "shape": [3, 2], "datatype": "FP32", "data": [[1, 0], [0, 1], [0, 0]]},
            {"name": "a", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]},
        ],
    }
    answer = predictor.infer(model, request).json()
    assert answer == {
        "model_name": "models.model",
        "model_version": model["Tenantry-Version"],
        "id": "7",
        "outputs": [{"name": "product", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 4, 5]}],
    }
    assert predictor.infer(model, {"inputs": request["inputs"][:1]}).status_code == 422
    assert "infer" in problem(predictor.predict(model, [[1]]))["error"]


def test_a_length_of_json_that_the_body_does_not_have_is_refused_in_words(
    predictor: PredictorProcess, put: Put
) -> None:
    model = put(graphs.linear()) | {"Inference-Header-Content-Length": "1000"}
    refused = predictor.infer(model, {})
    assert refused.status_code == 400
    assert "Inference-Header-Content-Length" in problem(refused)["error"]


def test_metadata_tells_true_shapes(predictor: PredictorProcess, put: Put) -> None:
    model = put(graphs.mixed())
    answer = predictor.http.get(
        f"/v2/models/models.model/versions/{model['Tenantry-Version']}", headers=model
    )
    assert answer.json() == {
        "name": "models.model",
        "versions": [model["Tenantry-Version"]],
        "platform": "onnx",
        "inputs": [
            {"name": "age", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "visits", "datatype": "INT64", "shape": [-1, 1]},
            {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
        ],
        "outputs": [
            {"name": "total", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "known", "datatype": "INT64", "shape": [-1, 1]},
        ],
    }


def test_a_hundred_cold_requests_are_one_load(predictor: PredictorProcess, put: Put) -> None:
    model = put(graphs.linear([5, 5], padding=1 << 20))
    before = predictor.metric("tenantry_predictor_load_seconds_count")
    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda row: predictor.predict(model, [row]), [[i, i] for i in range(100)]))
    assert [answer.json() for answer in answers] == [[10.0 * i] for i in range(100)]
    assert predictor.metric("tenantry_predictor_load_seconds_count") == before + 1


def test_a_deadline_is_kept(predictor: PredictorProcess, put: Put) -> None:
    model = put(graphs.slow(200))
    late = predictor.predict(model | {"Tenantry-Timeout": "20ms"}, [[1]])
    assert late.status_code == 504
    assert problem(late)["reason"] == "DeadlineExceeded"
    assert predictor.predict(model, [[1]]).json() == [1.0]
    for odd in ("soon", "9" * 400 + "ms", "9" * 5000 + "ms"):
        refused = predictor.predict(model | {"Tenantry-Timeout": odd}, [[1]])
        assert refused.status_code == 400
        assert "250ms" in problem(refused)["error"]


def test_a_dear_prediction_holds_up_no_cheap_one(predictor: PredictorProcess, put: Put) -> None:
    dear, cheap = put(graphs.slow(DEAR), "dear"), put(graphs.linear([1, 1]), "cheap", tenant="globex")
    for _ in range(3):
        predictor.predict(dear, [[1]])
        predictor.predict(cheap, [[1, 1]])
    with ThreadPoolExecutor(1) as thread:
        under_way = thread.submit(predictor.predict, dear, [[1]])
        wait_for(lambda: predictor.slot().get("inFlight"), 60, "the dear prediction is under way")
        assert predictor.predict(cheap, [[1, 1]]).json() == [2.0]
        assert not under_way.done()
        assert under_way.result().json() == [1.0]


def test_work_for_a_client_that_left_is_dropped(predictor: PredictorProcess, put: Put) -> None:
    model = put(graphs.slow(DEAR))
    predictor.predict(model, [[1]])
    before = predictor.slot()
    clients = []
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", predictor.port))
        fields = "".join(f"{name}: {value}\r\n" for name, value in model.items())
        client.sendall(
            f"POST /predict HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: 5\r\n\r\n[[1]]".encode()
        )
        clients.append(client)
    wait_for(lambda: predictor.slot().get("inFlight", 0) >= 15, 60, "the requests wait for threads")
    for client in clients:
        client.close()
    wait_for(lambda: predictor.slot().get("inFlight", 0) == 0, 60, "nothing is under way any more")
    predictor.predict(model, [[1]])
    done = predictor.slot()["models"][0]["requests"] - before["models"][0]["requests"]
    assert done < 20


def test_what_is_missing_is_said(predictor: PredictorProcess) -> None:
    refused = predictor.http.post("/predict", content="[[1]]")
    assert refused.status_code == 400
    assert "Tenantry-Artifact" in problem(refused)["error"]
    assert problem(predictor.http.get("/nothing"))["status"] == 404


def test_documentation_lists_the_hot_routes(predictor: PredictorProcess) -> None:
    paths = predictor.http.get("/openapi.json").json()["paths"]
    assert {"/predict", "/v2/models/{model}/infer", "/v2/repository/models/{model}/load"} <= paths.keys()
    assert predictor.http.get("/docs").status_code == 200
    assert predictor.http.get("/v2").json()["version"] == version("tenantry")
