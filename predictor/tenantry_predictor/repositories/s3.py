"""Artifacts in S3, or in anything that speaks its protocol: `s3://bucket/key`."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
_CONNECT_SECONDS = 2.0
_READ_SECONDS = 5.0
_FETCH_SECONDS = 60.0
"""All of one fetch: a store that trickles holds a thread no longer than this."""
_ABSENT = frozenset({"NoSuchKey", "NoSuchBucket", "404", "NotFound"})
_HIDDEN = frozenset({"AccessDenied", "403", "Forbidden"})


class S3ModelRepository:
    """boto3's client: credentials from its usual chain (environment, profile, web identity, instance)."""

    def __init__(self, endpoint: str = "", region: str = "", connections: int = 64) -> None:
        self._endpoint = endpoint
        self._region = region
        self._connections = connections
        self._lock = threading.Lock()
        self._made: Any = None

    def fetch(self, source: Source, write: Write) -> str:
        deadline = time.monotonic() + _FETCH_SECONDS
        with _translated(source):
            answer = self._client().get_object(**_address(source))
            with contextlib.closing(answer["Body"]) as body:  # as a context it gives its raw stream
                for chunk in body.iter_chunks(_CHUNK_BYTES):
                    write(chunk)
                    if time.monotonic() > deadline:
                        raise StorageUnavailable(f"{source.uri} did not arrive within {_FETCH_SECONDS:g} s.")
            return str(answer["ETag"])

    def tag(self, source: Source) -> str:
        with _translated(source):
            return str(self._client().head_object(**_address(source))["ETag"])

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
    return StorageUnavailable(f"{source.uri} cannot be read: the store answered {code or 'an error'}.")
