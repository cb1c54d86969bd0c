"""`hub://host[:port]/path`: artifacts of a web server. A worked example of a store of your own."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse

from tenantry_predictor.errors import ArtifactNotFound, StorageUnavailable
from tenantry_predictor.repositories.base import Source, StoreSettings, Write
from tenantry_predictor.repositories.fetching import ConnectionBroke, Part, fetch_in_parts

_SECONDS = 5.0
"""Without a byte, after which the server is taken for dead."""
_CHUNK_BYTES = 1 << 18


class HubModelRepository:
    """Reads with the token of the environment's HUB_TOKEN, where there is one."""

    def __init__(self, settings: StoreSettings) -> None:
        """Called once, with what the pool says of its stores; this one needs nothing of it."""
        token = os.environ.get("HUB_TOKEN")
        self._fields = {"Authorization": f"Bearer {token}"} if token else {}

    def fetch(self, source: Source, write: Write) -> str:
        return fetch_in_parts(source, self._part, write)

    def tag(self, source: Source) -> str:
        with self._open(source, "HEAD", {}) as answer:
            return _tag(answer)

    @contextmanager
    def _part(self, source: Source, offset: int, tag: str) -> Iterator[Part]:
        rest = {"Range": f"bytes={offset}-", "If-Match": tag} if offset else {}
        with self._open(source, "GET", rest) as answer:
            if offset and answer.status != 206:
                raise StorageUnavailable(f"{source.uri} cannot be read on: the server gives no ranges.")
            if answer.length is None:
                raise StorageUnavailable(f"{source.uri} cannot be read: the server tells no length.")
            yield Part(_tag(answer), offset + answer.length, _chunks(answer))

    def _open(self, source: Source, method: str, fields: dict[str, str]) -> HTTPResponse:
        url = "http" + source.uri.removeprefix("hub")
        request = urllib.request.Request(url, headers=self._fields | fields, method=method)
        try:
            answer: HTTPResponse = urllib.request.urlopen(request, timeout=_SECONDS)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(source, error.code) from error
        except HTTPException as error:
            raise StorageUnavailable(f"{source.uri} cannot be read: the server speaks no HTTP.") from error
        return answer


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := answer.read1(_CHUNK_BYTES):
            yield chunk
    except (HTTPException, OSError) as error:
        raise ConnectionBroke from error


def _tag(answer: HTTPResponse) -> str:
    return str(answer.headers["ETag"])


def _refusal(source: Source, status: int) -> ArtifactNotFound | StorageUnavailable:
    if status == 404:
        return ArtifactNotFound(f"There is no file {source.uri}.")
    if status == 412:
        return StorageUnavailable(f"{source.uri} was replaced while it was read; the next try reads it anew.")
    return StorageUnavailable(f"{source.uri} cannot be read: the server answered {status}.")
