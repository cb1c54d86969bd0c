"""A bucket of a test's own on a real S3 server, which publishing finds by its environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import boto3
import pytest

from cluster.s3server import S3Server


class Bucket(NamedTuple):
    name: str
    client: Any
    """boto3's, for what lies there."""
    endpoint: str

    def list_keys(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def read(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    arguments = s3_server.client_arguments
    monkeypatch.setenv("AWS_ENDPOINT_URL", arguments["endpoint_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", arguments["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", arguments["aws_secret_access_key"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", arguments["region_name"])
    bucket = Bucket("published", boto3.client("s3", **arguments), arguments["endpoint_url"])
    bucket.client.create_bucket(Bucket=bucket.name)
    yield bucket
    for key in bucket.list_keys():
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    bucket.client.delete_bucket(Bucket=bucket.name)
    bucket.client.close()
