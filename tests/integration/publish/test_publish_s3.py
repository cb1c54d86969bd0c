"""Publishing to a real S3 server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import boto3
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from cluster.s3server import S3Server
from tenantry import PublishError, publish
from tenantry_predictor.runtimes import onnx

_X = np.arange(20.0).reshape(-1, 2)
BUCKET = "published"


@pytest.fixture
def store(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client for what was published; `publish` itself finds the server by its environment."""
    arguments = s3_server.client_arguments
    monkeypatch.setenv("AWS_ENDPOINT_URL", arguments["endpoint_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", arguments["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", arguments["aws_secret_access_key"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", arguments["region_name"])
    client = boto3.client("s3", **arguments)
    client.create_bucket(Bucket=BUCKET)
    yield client
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


def test_the_object_lies_under_its_digest_once(store: Any) -> None:
    model = LinearRegression().fit(_X, _X.sum(axis=1))
    first = publish(model, tenant="acme", to=f"s3://{BUCKET}/models/")
    assert publish(model, tenant="acme", to=f"s3://{BUCKET}/models") == first
    card, item = store.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert f"s3://{BUCKET}/{item['Key']}" == first.uri
    assert item["Key"] == f"models/acme/{first.sha256}.onnx"
    assert f"s3://{BUCKET}/{card['Key']}" == first.card_uri
    content = store.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
    assert hashlib.sha256(content).hexdigest() == first.sha256
    onnx.load_bytes(content).close()


def test_a_bucket_that_is_not_there_is_a_sentence(store: Any) -> None:
    with pytest.raises(PublishError, match=r"cannot be written: .*NoSuchBucket"):
        publish(LinearRegression().fit(_X, _X[:, 0]), tenant="acme", to="s3://elsewhere/models")


def test_a_server_that_is_away_is_a_sentence(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(PublishError, match=r"cannot be written: .*127\.0\.0\.1:9"):
        publish(LinearRegression().fit(_X, _X[:, 0]), tenant="acme", to=f"s3://{BUCKET}/models")
