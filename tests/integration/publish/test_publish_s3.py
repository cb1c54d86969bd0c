"""Publishing to a real S3 server."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from integration.publish.conftest import Bucket
from tenantry import PublishError, publish
from tenantry_predictor.runtimes import onnx

_X = np.arange(20.0).reshape(-1, 2)
MODEL = LinearRegression().fit(_X, _X.sum(axis=1))


def test_the_object_lies_under_its_digest_once_beside_its_card(bucket: Bucket) -> None:
    first = publish(MODEL, tenant="acme", to=f"s3://{bucket.name}/models/", metrics={"mae": 0.5})
    card, key = bucket.list_keys()
    assert (first.uri, first.card_uri) == (f"s3://{bucket.name}/{key}", f"s3://{bucket.name}/{card}")
    assert key == f"models/acme/{first.sha256}.onnx"
    content, said = bucket.read(key), bucket.read(card)
    assert hashlib.sha256(content).hexdigest() == first.sha256
    onnx.load_bytes(content).close()
    assert json.loads(said)["metrics"] == {"mae": 0.5}

    assert publish(MODEL, tenant="acme", to=f"s3://{bucket.name}/models", metrics={"mae": 0.5}) == first
    assert bucket.list_keys() == [card, key]
    assert bucket.read(card) == said, "the date of the first time stays"


def test_a_bucket_that_is_not_there_is_a_sentence(bucket: Bucket) -> None:
    with pytest.raises(PublishError, match=r"cannot be written: .*NoSuchBucket"):
        publish(MODEL, tenant="acme", to="s3://elsewhere/models")


def test_a_server_that_is_away_is_a_sentence(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(PublishError, match=r"cannot be written: .*127\.0\.0\.1:9"):
        publish(MODEL, tenant="acme", to=f"s3://{bucket.name}/models")
