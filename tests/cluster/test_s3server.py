"""What other tests rely on: an S3 server that keeps objects, refuses when stopped and hangs when paused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from cluster.s3server import S3Server

BUCKET = "cluster-test"


@pytest.fixture(scope="module")
def client(s3_server: S3Server) -> Iterator[Any]:
    """A client that does not wait long, with one object stored."""
    impatient = Config(connect_timeout=1, read_timeout=0.5, retries={"max_attempts": 0})
    client = boto3.client("s3", **s3_server.client_arguments, config=impatient)
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="a/model.onnx", Body=b"bytes")
    yield client
    client.close()


def read(client: Any) -> bytes:
    content: bytes = client.get_object(Bucket=BUCKET, Key="a/model.onnx")["Body"].read()
    return content


def test_object_survives_stop_and_start(s3_server: S3Server, client: Any) -> None:
    s3_server.stop()
    with pytest.raises(EndpointConnectionError):
        read(client)
    s3_server.start()
    assert read(client) == b"bytes"


def test_paused_server_answers_nothing_until_resumed(s3_server: S3Server, client: Any) -> None:
    s3_server.pause()
    with pytest.raises(ReadTimeoutError):
        read(client)
    s3_server.resume()
    assert read(client) == b"bytes"
