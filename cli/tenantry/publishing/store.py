"""Where artifacts and cards go: a folder, or S3. Whatever appears there appears whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from tenantry_operator.local.directory import write_atomically

_NOT_READABLE = frozenset({"NoSuchKey", "404", "AccessDenied", "403"})
"""Who may only write is told by S3 that reading is denied."""


class StoreError(OSError):
    """The store refuses, or does not answer."""


class Store(Protocol):
    """Raises OSError."""

    def put(self, uri: str, content: bytes) -> None: ...

    def get(self, uri: str) -> bytes | None:
        """None where there is nothing, or nothing that may be read."""
        ...


def store_of(uri: str) -> Store:
    return FolderStore() if urlsplit(uri).scheme == "file" else S3Store()


class FolderStore:
    def put(self, uri: str, content: bytes) -> None:
        path = _path(uri)
        if self.get(uri) != content:
            write_atomically(path, content)

    def get(self, uri: str) -> bytes | None:
        try:
            return _path(uri).read_bytes()
        except FileNotFoundError:
            return None


class S3Store:
    """Endpoint, region and credentials come from boto3's usual chain, such as AWS_ENDPOINT_URL."""

    def __init__(self) -> None:
        import boto3
        from botocore.config import Config

        usual = Config(
            connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3, "mode": "standard"}
        )
        with _translated():
            self._client = boto3.client("s3", config=usual)
            if "amazonaws.com" not in self._client.meta.endpoint_url:
                # Servers other than AWS rarely have a DNS name a bucket.
                self._client = boto3.client("s3", config=usual.merge(Config(s3={"addressing_style": "path"})))

    def put(self, uri: str, content: bytes) -> None:
        with _translated():
            self._client.put_object(**_place(uri), Body=content)

    def get(self, uri: str) -> bytes | None:
        with _translated():
            try:
                content: bytes = self._client.get_object(**_place(uri))["Body"].read()
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _NOT_READABLE:
                    return None
                raise
            return content


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StoreError(
            "there are no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from error
    except (BotoCoreError, ClientError) as error:
        raise StoreError(str(error)) from error


def _place(uri: str) -> dict[str, Any]:
    parts = urlsplit(uri)
    return {"Bucket": parts.netloc, "Key": parts.path.lstrip("/")}


def _path(uri: str) -> Path:
    return Path(urlsplit(uri).path)
