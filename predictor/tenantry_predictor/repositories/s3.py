"""Artifacts in S3, or in anything that speaks its protocol: `s3://bucket/key`."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3.exceptions
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)

from tenantry_predictor.errors import ArtifactNotFound, StorageUnavailable
from tenantry_predictor.repositories.base import Source, Write
from tenantry_predictor.repositories.fetching import ConnectionBroke, Part, fetch_in_parts

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
_CONNECT_SECONDS = 2.0
_READ_SECONDS = 5.0
_ABSENT = frozenset({"NoSuchKey", "NoSuchBucket", "404", "NotFound"})
_HIDDEN = frozenset({"AccessDenied", "403", "Forbidden"})
_REPLACED = frozenset({"PreconditionFailed", "412"})


class S3ModelRepository:
    """boto3's client: credentials from its usual chain (environment, profile, web identity, instance)."""

    def __init__(self, endpoint: str = "", region: str = "", connections: int = 64) -> None:
        self._endpoint = endpoint
        self._region = region
        self._connections = connections
        self._lock = threading.Lock()
        self._made: Any = None

    def fetch(self, source: Source, write: Write) -> str:
        return fetch_in_parts(source, self._part, write)

    def tag(self, source: Source) -> str:
        with _translated(source):
            return str(self._client().head_object(**_address(source))["ETag"])

    @contextmanager
    def _part(self, source: Source, offset: int, tag: str) -> Iterator[Part]:
        rest = {"Range": f"bytes={offset}-", "IfMatch": tag} if offset else {}
        with _translated(source):
            answer = self._client().get_object(**_address(source), **rest)
            with contextlib.closing(answer["Body"]), answer["Body"] as raw:  # closing alone drops the socket
                if offset and "ContentRange" not in answer:
                    raise StorageUnavailable(f"{source.uri} cannot be read on: the store gives no ranges.")
                yield Part(str(answer["ETag"]), offset + int(answer["ContentLength"]), _chunks(raw))

    def _client(self) -> Any:
        """Made at the first use, as a predictor that reads files only needs no AWS client at all."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Any:
        import boto3  # takes 0.2 s

        return boto3.client(
            "s3",
            endpoint_url=self._endpoint or None,
            region_name=self._region or None,
            config=Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                retries={"total_max_attempts": 2, "mode": "standard"},
                max_pool_connections=self._connections,
                # Servers other than AWS rarely have a DNS name a bucket.
                s3={"addressing_style": "path" if self._endpoint else "auto"},
            ),
        )


def _chunks(raw: Any) -> Iterator[bytes]:
    """What has arrived, without waiting for more: botocore's own stream would fill each chunk first."""
    try:
        while chunk := raw.read1(_CHUNK_BYTES):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise ConnectionBroke from error


def _address(source: Source) -> dict[str, str]:
    bucket, _, key = source.uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


@contextmanager
def _translated(source: Source) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _error(source, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        message = f"{source.uri} cannot be read: this predictor has no credentials for the store."
        raise StorageUnavailable(message) from error
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise StorageUnavailable(f"{source.uri} cannot be read: the store does not answer.") from error
    except BotoCoreError as error:
        logger.warning(
            "%s: %s", source.uri, error
        )  # may name the endpoint, which is not the tenant's business
        raise StorageUnavailable(f"{source.uri} cannot be read: the store cannot be reached.") from error


def _error(source: Source, error: ClientError) -> ArtifactNotFound | StorageUnavailable:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _ABSENT:
        return ArtifactNotFound(f"There is no object {source.uri}.")
    if code in _HIDDEN:
        # Without the right to list a bucket, a missing key looks the same.
        return ArtifactNotFound(f"The store denies access to {source.uri}, or there is no such object.")
    if code in _REPLACED:
        return StorageUnavailable(f"{source.uri} was replaced while it was read; the next try reads it anew.")
    return StorageUnavailable(f"{source.uri} cannot be read: the store answered {code or 'an error'}.")
