"""Requests over HTTP that no client of the protocol would send: each is refused with a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from integration.protocol.conftest import Served

DATA = np.array([[1, 1]], np.float32).tobytes()
BINARY = {"name": "input", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
PLAIN = {"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [1, 1]}


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.router.url, timeout=30, trust_env=False) as client:
        yield client


def header(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


def post(client: httpx.Client, body: bytes, length: object = None, **headers: str) -> httpx.Response:
    fields = {"content-type": "application/octet-stream", **headers}
    if length is not None:
        fields["inference-header-content-length"] = str(length)
    return client.post("/v2/models/acme/infer", content=body, headers=fields)


def test_what_is_well_formed_is_answered(client: httpx.Client) -> None:
    text = header(BINARY, parameters={"binary_data_output": True})
    answer = post(client, text + DATA, len(text))
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    [output] = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 4}
    assert np.frombuffer(answer.content[length:], np.float32).tolist() == [3.0]
    assert "cache=" in answer.headers["tenantry-route"]


TEXT = header(BINARY)


@pytest.mark.parametrize(
    ("body", "length", "status", "sentence"),
    [
        (TEXT + DATA, None, 400, "no inference request"),
        (TEXT, None, 400, "no Inference-Header-Content-Length"),
        (TEXT + DATA, len(TEXT) - 1, 400, "no inference request"),
        (TEXT + DATA, len(TEXT) + 1, 400, "no inference request"),
        (TEXT + DATA, 0, 400, "no inference request"),
        (TEXT + DATA, len(TEXT) + 9, 400, "no number of bytes within the body"),
        (TEXT + DATA, -1, 400, "no number of bytes within the body"),
        (TEXT + DATA, "many", 400, "no number of bytes within the body"),
        (TEXT + DATA[:-1], len(TEXT), 400, "the body has 7 bytes left"),
        (TEXT + DATA + b"x", len(TEXT), 400, "1 bytes after its JSON"),
        (header(PLAIN) + DATA, len(header(PLAIN)), 400, "8 bytes after its JSON"),
        (header(PLAIN | BINARY) + DATA, len(header(PLAIN | BINARY)), 400, "data and a binary_data_size"),
        (header(BINARY | {"shape": [2, 2]}) + DATA, None, 400, "no inference request"),
        (b"", None, 400, "no inference request"),
    ],
)
def test_what_does_not_add_up_is_named(
    client: httpx.Client, body: bytes, length: object, status: int, sentence: str
) -> None:
    answer = post(client, body, length)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert sentence in answer.json()["error"]


def test_protobuf_is_for_grpc(client: httpx.Client) -> None:
    answer = post(client, b"", **{"content-type": "application/x-protobuf"})
    assert answer.status_code == 415


def test_the_index_may_be_of_what_is_ready(client: httpx.Client) -> None:
    every = {model["name"] for model in client.post("/v2/repository/index").json()}
    ready = {model["name"] for model in client.post("/v2/repository/index", json={"ready": True}).json()}
    assert every - ready == {"new"}
    assert client.post("/v2/repository/index", json={"ready": False}).json()
    refused = client.post("/v2/repository/index", json={"ready": "yes"})
    assert (refused.status_code, refused.json()["reason"]) == (400, "Malformed")


def test_a_version_is_ready_or_it_is_not(client: httpx.Client, served: Served) -> None:
    digits = served.versions["acme"]
    answer = client.get(f"/v2/models/acme/versions/{digits[:12]}/ready")
    assert answer.json() == {"name": "acme", "ready": True}
    assert client.get("/v2/models/acme/versions/000000000000/ready").status_code == 404
    assert client.get("/v2/models/new/ready").status_code == 503


def test_a_user_in_the_body_beside_bytes(client: httpx.Client) -> None:
    text = header(BINARY, parameters={"user_id": "2"})
    answer = client.post(
        "/v2/models/personal/infer",
        content=text + DATA,
        headers={"inference-header-content-length": str(len(text))},
    )
    assert answer.json()["outputs"][0]["data"] == [2.0]
    nobody = client.post("/v2/models/personal/infer", content=header(PLAIN, parameters=None))
    assert (nobody.status_code, nobody.json()["reason"]) == (400, "UserMissing")
