"""What applications see, with a real router before real servers that echo what they were sent."""

from __future__ import annotations

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import httpx
import pytest

from integration.router.conftest import SLOTS, Service
from integration.router.processes import wait_until
from load.target import post

ROWS = [[1.0, 2.0]]


def sent(response: httpx.Response) -> dict[str, Any]:
    """What the slot was sent, headers as a dictionary."""
    assert response.status_code == 200, response.text
    echo: dict[str, Any] = response.json()
    echo["headers"] = dict(echo["headers"])
    return echo


def route(response: httpx.Response) -> dict[str, str]:
    parts = response.headers["tenantry-route"].split("; ")
    return dict(part.split("=", 1) for part in parts)


def problem(response: httpx.Response, status: int, reason: str | None = None) -> str:
    """The sentence of a problem document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document.get("reason") == reason
    assert document["error"] == document["detail"]
    return str(document["error"])


def test_a_predictor_is_told_what_it_needs_and_nothing_that_the_client_made_up(
    client: httpx.Client,
) -> None:
    response = client.post(
        "/predict/acme:42",
        json=ROWS,
        headers={
            "Authorization": "Bearer secret",
            "Cookie": "session=1",
            "Tenantry-Model": "other.model",
            "Tenantry-Artifact": "file:///etc/passwd",
            "Tenantry-Token": "guess",
            "Traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
            "Tracestate": "vendor=1",
        },
    )
    echo = sent(response)
    assert (echo["path"], echo["query"], json.loads(echo["body"])) == ("/predict", "", ROWS)
    headers = echo["headers"]
    assert re.fullmatch(r"\d+ms", headers.pop("tenantry-timeout"))
    assert headers == {
        "host": "predictor",
        "content-type": "application/json",
        "content-length": str(len(echo["body"])),
        "tenantry-model": "models.acme",
        "tenantry-version": "a" * 64,
        "tenantry-artifact": "s3://models/acme.onnx",
        "tenantry-format": "onnx",
        "tenantry-tenant": "acme",
        "tenantry-token": "sesame",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        "tracestate": "vendor=1",
    }


def test_an_answer_says_how_it_came_about(client: httpx.Client) -> None:
    response = client.post("/predict/acme:42", json={"cache": "miss"})
    told = route(response)
    assert told.pop("slot") in SLOTS
    assert told == {"model": "models.acme", "version": "a" * 12, "cache": "miss", "reason": "primary"}
    assert re.fullmatch(r"router;dur=\d+\.\d+, predict;dur=0.1", response.headers["server-timing"])
    assert "x-inner" not in response.headers


def test_a_user_stays_with_a_slot_and_users_spread_over_the_placement(client: httpx.Client) -> None:
    def slot(user: int) -> str:
        """The user's own; on a busy machine another may stand in for it for a moment."""
        while (told := route(client.post(f"/predict/acme:{user}", json=ROWS)))["reason"] != "primary":
            pass
        return told["slot"]

    first = [slot(user) for user in range(60)]
    assert first == [slot(user) for user in range(60)]
    assert {first.count(name) > 8 for name in SLOTS} == {True}


def test_without_a_user_the_load_is_spread(client: httpx.Client) -> None:
    answers = [route(client.post("/predict/acme", json=ROWS)) for _ in range(300)]
    assert {told["reason"] for told in answers} == {"least-loaded"}
    # Not to the last: what users of other tests have brought to one slot, these bring to the others.
    assert min(sum(told["slot"] == slot for told in answers) for slot in SLOTS) > 60


@pytest.mark.parametrize(
    ("path", "headers", "model"),
    [
        ("/predict/acme", {}, "models.acme"),
        ("/predict/acme%3A42", {}, "models.acme"),
        ("/predict/42", {"Tenantry-Tenant": "acme"}, "models.acme"),
        ("/predict/shop:7", {}, "models.shop-vip"),
        ("/predict/shop:vip-3", {}, "models.shop-vip"),
        ("/predict/shop:8", {}, "models.shop"),
        ("/predict/shop", {}, "models.shop"),
        ("/predict/vip-3", {"Tenantry-Tenant": "shop"}, "models.shop-vip"),
        ("/predict/a:b", {"Tenantry-Tenant": "shop"}, "models.shop"),
        ("/v2/models/acme/infer", {}, "models.acme"),
        ("/v2/models/models.acme/infer", {}, "models.acme"),
        ("/v2/models/first/infer", {}, "models.first"),
        ("/v2/models/first/infer", {"Tenantry-User": "two:9"}, "models.first"),
        ("/v2/models/scorer/infer", {"Tenantry-Tenant": "green"}, "green.scorer"),
        ("/v2/models/blue.scorer/infer", {}, "blue.scorer"),
    ],
)
def test_who_asks_decides_which_model_answers(
    client: httpx.Client, path: str, headers: dict[str, str], model: str
) -> None:
    response = client.post(path, json=ROWS, headers=headers)
    assert route(response)["model"] == model
    assert sent(response)["headers"]["tenantry-model"] == model


@pytest.mark.parametrize(
    ("path", "headers", "status", "reason", "part"),
    [
        ("/predict/nobody", {}, 404, "UnknownTenant", "'nobody'"),
        ("/predict/two", {}, 409, "Ambiguous", "models.first, models.second"),
        ("/predict/", {}, 400, "Malformed", "tenant"),
        ("/predict/acme:", {}, 400, "Malformed", "user id"),
        ("/predict/:42", {}, 400, "Malformed", "tenant"),
        ("/predict/a%2Fb", {}, 400, "Malformed", "tenant"),
        ("/predict/%ff", {}, 400, "Malformed", "UTF-8"),
        ("/predict/acme:%2E%2E", {}, 400, "Malformed", "'..'"),
        ("/predict/42", {"Tenantry-Tenant": "a b"}, 400, "Malformed", "tenant"),
        ("/predict/acme", {"Tenantry-Timeout": "soon"}, 400, "Malformed", "250ms"),
        ("/predict/acme", {"Content-Type": "text/csv"}, 415, "UnsupportedMediaType", "text/csv"),
        ("/predict/acme", {"Content-Encoding": "gzip"}, 415, "UnsupportedEncoding", "Content-Encoding"),
        ("/predict/acme", {"Inference-Header-Content-Length": "99"}, 400, "Malformed", "within the body"),
        ("/predict/new", {}, 503, "FirstLoad", "its artifact is being read."),
        ("/predict/stranded", {}, 503, "Unreachable", "'gone'"),
        ("/predict/personal", {}, 400, "UserMissing", "Tenantry-User"),
        ("/v2/models/nothing/infer", {}, 404, "UnknownModel", "'nothing'"),
        ("/v2/models/scorer/infer", {}, 409, "Ambiguous", "blue.scorer, green.scorer"),
        ("/v2/models/acme/infer", {"Tenantry-Tenant": "shop"}, 403, "AnotherTenants", "'shop'"),
        ("/v2/models/models.acme/infer", {"Tenantry-User": "shop:1"}, 403, "AnotherTenants", "'shop'"),
        ("/v2/models/acme/versions/aaaaaaaaaaa/infer", {}, 404, "UnknownVersion", "a" * 12),
        ("/v2/models/acme/versions/bbbbbbbbbbbb/infer", {}, 404, "UnknownVersion", "a" * 12),
    ],
)
def test_refusals_say_what_to_do(
    client: httpx.Client, path: str, headers: dict[str, str], status: int, reason: str, part: str
) -> None:
    response = client.post(path, json=ROWS, headers=headers)
    assert part in problem(response, status, reason)
    assert ("retry-after" in response.headers) == (status == 503)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict/acme", 405),
        ("GET", "/nothing", 404),
        ("POST", "/predict/a/b", 404),
        ("POST", "/predict%2Facme", 404),
        ("POST", "/%70redict/acme", 404),
        ("POST", "/v2/models/acme%2Finfer", 404),
        ("GET", "/v2/%6Dodels/acme", 404),
        ("POST", "/v2/repository/models/acme/load", 404),
        ("POST", "/v2/repository/models/acme/unload", 404),
    ],
)
def test_the_frameworks_own_errors_are_problems_too(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    problem(client.request(method, path), status)


def test_a_missing_content_type_is_accepted(client: httpx.Client) -> None:
    assert "content-type" not in sent(client.post("/predict/acme", content=b"[[1]]"))["headers"]


def test_binary_tensors_are_carried(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "2"}
    echo = sent(client.post("/v2/models/acme/infer", content=b"{}\x00\x01", headers=headers))
    assert echo["headers"]["inference-header-content-length"] == "2"
    assert echo["headers"]["content-type"] == "application/octet-stream"


def test_the_query_selects_an_output(client: httpx.Client) -> None:
    echo = sent(client.post("/predict/acme?output=probabilities", json=ROWS))
    assert echo["query"] == "output=probabilities"


def test_infer_names_key_and_version_to_the_predictor(client: httpx.Client) -> None:
    plain = sent(client.post("/v2/models/acme/infer", json={}))
    exact = sent(client.post(f"/v2/models/acme/versions/{'a' * 12}/infer", json={}))
    assert plain["path"] == exact["path"] == f"/v2/models/models.acme/versions/{'a' * 64}/infer"


@pytest.mark.parametrize("user", [{"headers": {"Tenantry-User": "personal:4@2"}}, {"user_id": "4@2"}])
def test_a_model_per_user_is_loaded_from_the_users_own_artifact(
    client: httpx.Client, user: dict[str, Any]
) -> None:
    body = {"parameters": {"user_id": user["user_id"]}} if "user_id" in user else {}
    response = client.post("/v2/models/personal/infer", json=body, headers=user.get("headers"))
    headers = sent(response)["headers"]
    assert headers["tenantry-artifact"] == "s3://models/personal/4%402.onnx"
    assert headers["tenantry-version"] == "-"
    assert route(response) == route(client.post("/predict/personal:4@2", json=ROWS))


def test_the_user_in_the_body_must_be_one(client: httpx.Client) -> None:
    response = client.post("/v2/models/personal/infer", json={"parameters": {"user_id": "../secret"}})
    problem(response, 400, "Malformed")
    for broken in (b"[1", b'{"a":' * 50_000, b'{"parameters":{"user_id":"\xff"}}'):
        problem(client.post("/v2/models/personal/infer", content=broken), 400, "Malformed")
    assert "parameters.user_id" in problem(
        client.post("/v2/models/personal/infer", json={}), 400, "UserMissing"
    )


def test_targets_share_by_weight_and_a_user_keeps_its_version(client: httpx.Client) -> None:
    def version(user: int) -> str:
        return route(client.post(f"/predict/canary:{user}", json=ROWS))["version"][0]

    first = [version(user) for user in range(200)]
    assert 25 <= first.count("2") <= 80
    assert [version(user) for user in range(50)] == first[:50]
    explained = client.get("/explain/canary:0").json()
    assert (explained["version"][0], explained["otherVersions"][0][0]) in {("1", "2"), ("2", "1")}
    assert explained["version"][0] == first[0]
    named = client.post(f"/v2/models/canary/versions/{'2' * 12}/infer", json={})
    assert route(named)["version"] == "2" * 12


def test_a_deadline_is_kept_and_the_work_is_dropped(client: httpx.Client, service: Service) -> None:
    dropped = service.counts("default-0").get("dropped", 0)
    response = client.post("/predict/shop", json={"wait": 30}, headers={"Tenantry-Timeout": "1s"})
    assert "time was up" in problem(response, 504, "DeadlineExceeded")
    assert 0.9 < response.elapsed.total_seconds() < 20
    wait_until(
        lambda: service.counts("default-0").get("dropped", 0) == dropped + 1, 60.0, "the slot stops working"
    )


def test_the_models_own_deadline_counts_where_the_client_gives_none(client: httpx.Client) -> None:
    late = client.post("/predict/hasty", json={"wait": 30})
    problem(late, 504, "DeadlineExceeded")
    assert 0.19 < late.elapsed.total_seconds() < 20
    echo = sent(client.post("/predict/hasty", json={"wait": 0.3}, headers={"Tenantry-Timeout": "5s"}))
    assert 200 < int(echo["headers"]["tenantry-timeout"].removesuffix("ms")) <= 5000


def test_a_client_that_goes_away_takes_its_work_with_it(service: Service) -> None:
    before = service.counts("default-0")
    with socket.create_connection(("127.0.0.1", service.router.port)) as connection:
        connection.sendall(post("/predict/shop", b'{"wait": 30}'))
        arrived, dropped = before.get("arrived", 0) + 1, before.get("dropped", 0) + 1
        wait_until(lambda: service.counts("default-0").get("arrived") == arrived, 60.0, "the slot works")
    wait_until(lambda: service.counts("default-0").get("dropped") == dropped, 60.0, "the slot stops working")


def test_errors_of_a_predictor_reach_the_client_as_they_are(client: httpx.Client) -> None:
    answer = {"error": "column 'age' is missing", "reason": "Misfit"}
    response = client.post("/predict/acme:1", json={"status": 422, "answer": answer})
    assert (response.status_code, response.json()) == (422, answer)


def test_a_predictor_that_refuses_the_token_is_no_refusal_of_the_client(client: httpx.Client) -> None:
    problem(client.post("/predict/acme:1", json={"status": 401}), 502, "TokenRefused")


@pytest.mark.parametrize("orders", [{"break": True}, {"status": 503, "answer": {"reason": "Busy"}}])
def test_what_one_slot_fails_another_answers(client: httpx.Client, orders: dict[str, Any]) -> None:
    primary = route(client.post("/predict/acme:42", json=ROWS))["slot"]
    response = client.post("/predict/acme:42", json=orders | {"on": primary})
    assert response.status_code == 200
    told = route(response)
    assert told["slot"] != primary
    assert told["reason"] == "failover"


def test_there_is_one_second_attempt_and_no_third(client: httpx.Client, service: Service) -> None:
    before = [service.counts(slot).get("arrived", 0) for slot in SLOTS]
    problem(client.post("/predict/acme:42", json={"break": True}), 502, "BadGateway")
    after = [service.counts(slot).get("arrived", 0) for slot in SLOTS]
    assert sum(more > less for less, more in zip(before, after, strict=True)) == 2


def test_a_503_that_speaks_of_the_model_is_final(client: httpx.Client, service: Service) -> None:
    before = sum(service.counts(slot).get("arrived", 0) for slot in SLOTS)
    orders = {"status": 503, "answer": {"reason": "LoadFailed"}}
    assert client.post("/predict/acme:42", json=orders).status_code == 503
    assert sum(service.counts(slot).get("arrived", 0) for slot in SLOTS) == before + 1


def test_a_user_without_an_artifact_is_unknown(client: httpx.Client) -> None:
    orders = {"status": 503, "answer": {"reason": "ArtifactNotFound"}}
    problem(client.post("/predict/personal:1", json=orders), 404, "UnknownUser")
    assert client.post("/predict/acme:1", json=orders).status_code == 503


def test_a_busy_primary_lets_others_of_the_placement_help(client: httpx.Client) -> None:
    with ThreadPoolExecutor(12) as pool:
        orders = [{"wait": 2.0}] * 12  # so long that all are under way together
        answers = list(pool.map(lambda order: client.post("/predict/acme:42", json=order), orders))
    told = [route(answer) for answer in answers]
    by_slot = [sum(t["slot"] == slot for t in told) for slot in SLOTS]
    assert {t["reason"] for t in told} == {"primary", "overload"}
    assert max(by_slot) <= 5  # 1.25 times the mean of 4


def test_explain_tells_what_a_prediction_then_does(client: httpx.Client) -> None:
    document = client.get("/explain/shop:vip-1").json()
    assert document["model"] == "models.shop-vip"
    assert "'vip-'" in document["because"]
    assert document["otherModels"] == ["models.shop"]
    document = client.get("/explain/acme:42").json()
    told = route(client.post("/predict/acme:42", json=ROWS))
    assert {key: document[key] for key in ("model", "version", "slot", "reason")} == {
        key: told[key] for key in ("model", "version", "slot", "reason")
    }
    assert [candidate["slot"] for candidate in document["candidates"]] == document["placement"]
    assert client.get("/explain/42", headers={"Tenantry-Tenant": "acme"}).json() == document
    unplaced = client.get("/explain/new").json()
    assert (unplaced["slot"], unplaced["reason"]) == (None, "FirstLoad")
    problem(client.get("/explain/nobody"), 404, "UnknownTenant")
    problem(client.get("/explain/two"), 409, "Ambiguous")


def test_only_predictions_are_asked_for_at_once(client: httpx.Client) -> None:
    """A slot may have to load a model to describe it, and others must not wait behind that."""
    path = "/v2/models/shop"
    for _ in range(2):
        predicted = client.post(f"{path}/infer", json={"inputs": []})
    assert "tenantry-at-once" in sent(predicted)["headers"]
    assert "tenantry-at-once" not in sent(client.get(path))["headers"]


def test_the_protocols_metadata_uses_the_callers_names(client: httpx.Client) -> None:
    assert client.get("/v2").json()["name"] == "tenantry"
    metadata = client.get("/v2/models/acme")
    assert metadata.json()["name"] == "acme"
    assert metadata.json()["path"] == f"/v2/models/models.acme/versions/{'a' * 64}"
    assert client.get("/v2/models/blue.scorer").json()["name"] == "blue.scorer"
    assert client.get("/v2/models/scorer", headers={"Tenantry-Tenant": "blue"}).json()["name"] == "scorer"
    problem(client.get("/v2/models/nothing"), 404, "UnknownModel")


def test_ready_means_routed_with_a_good_version(client: httpx.Client) -> None:
    assert client.get("/v2/models/acme/ready").json() == {"name": "acme", "ready": True}
    assert client.get(f"/v2/models/acme/versions/{'a' * 12}/ready").status_code == 200
    problem(client.get(f"/v2/models/acme/versions/{'b' * 12}/ready"), 404, "UnknownVersion")
    problem(client.get("/v2/models/new/ready"), 503, "FirstLoad")


def test_the_index_shows_each_caller_their_own(client: httpx.Client) -> None:
    def index(**headers: str) -> dict[str, str]:
        rows = client.post("/v2/repository/index", headers=headers).json()
        return {row["name"]: row["state"] for row in rows}

    everything = index()
    assert everything["acme"] == "READY"
    assert everything["new"] == "UNAVAILABLE"
    assert {"blue.scorer", "green.scorer"} < everything.keys()
    assert "scorer" not in everything
    assert index(**{"Tenantry-Tenant": "shop"}) == {"shop": "READY", "shop-vip": "READY"}
    assert index(**{"Tenantry-Tenant": "nobody"}) == {}


def test_the_documentation_shows_predictions(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/predict/{user_id}", "/v2/models/{model}/infer", "/explain/{user_id}"} <= paths.keys()
    assert paths["/predict/{user_id}"]["post"]["parameters"][0]["name"] == "user_id"
    assert client.get("/docs").status_code == 200
    assert client.get("/v2").json()["version"] == version("tenantry")


def test_metrics_count_requests_and_name_no_user(client: httpx.Client) -> None:
    def value(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " ")), 0.0)

    before = value('tenantry_router_requests_total{status="200"}')
    refused = value('tenantry_router_requests_total{status="404"}')
    client.post("/predict/acme:somebody-special", json=ROWS)
    client.post("/predict/nobody:somebody-special", json=ROWS)
    assert value('tenantry_router_requests_total{status="200"}') == before + 1
    assert value('tenantry_router_requests_total{status="404"}') == refused + 1
    assert value('tenantry_router_problems_total{reason="UnknownTenant",status="404"}') >= 1
    wait_until(lambda: value("tenantry_router_requests_in_flight") == 0, 60.0, "nothing is in flight")
    assert value("tenantry_router_models") == len(client.post("/v2/repository/index").json())
    available = 'tenantry_router_slots{pool="default",state="available"}'
    wait_until(lambda: value(available) == len(SLOTS), 60.0, "all slots are available")
    assert value("tenantry_router_request_seconds_count") > 0
    assert "somebody-special" not in client.get("/metrics").text
