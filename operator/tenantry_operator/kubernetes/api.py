"""Requests to the API server: JSON in, JSON out, each with a timeout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_METADATA_OF_ONE = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"

_TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)


class Unreachable(Exception):
    """The API server did not answer."""


class Refused(Exception):
    """The API server answered with an error; the message is its own."""

    def __init__(self, status: int, message: str, conflicts: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.conflicts = dict(conflicts or {})
        """Of a server-side apply: who holds a field, by its path, such as `.spec.replicas`."""


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""
    field: str = ""


class _Details(msgspec.Struct, frozen=True):
    causes: tuple[_Cause, ...] = ()


class _Status(msgspec.Struct):
    message: str = ""
    details: _Details = _Details()


class _Metadata(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion")


class _Written(msgspec.Struct):
    metadata: _Metadata


class Api:
    """A thin layer over the generated client, which knows credentials and connections.

    Its models are left aside: what is exchanged here are manifests.
    """

    def __init__(self, client: ApiClient) -> None:
        self.client = client

    async def close(self) -> None:
        await self.client.close()

    async def get(self, path: str, **params: str) -> Any:
        return msgspec.json.decode(await self.send("GET", path, params=params))

    async def create(self, path: str, manifest: Mapping[str, Any]) -> int:
        """Gives the resourceVersion that was written."""
        return _version(await self.send("POST", path, manifest, accept=_METADATA_OF_ONE))

    async def replace(self, path: str, manifest: Mapping[str, Any]) -> int:
        """With a resourceVersion in it: only over that version. Gives the one that was written."""
        return _version(await self.send("PUT", path, manifest, accept=_METADATA_OF_ONE))

    async def merge(self, path: str, patch: Mapping[str, Any]) -> Any:
        """JSON merge patch (RFC 7396): null removes."""
        return msgspec.json.decode(await self.send("PATCH", path, patch, content_type=MERGE_PATCH))

    async def apply(self, path: str, manifest: Mapping[str, Any], manager: str, *, force: bool = True) -> Any:
        """Server-side apply; with `force` the fields that another manager holds are taken over."""
        params = {"fieldManager": manager, "force": "true" if force else "false"}
        answer = await self.send("PATCH", path, manifest, params=params, content_type=APPLY_PATCH)
        return msgspec.json.decode(answer)

    async def delete(self, path: str, options: Mapping[str, Any] | None = None, **params: str) -> None:
        """One object, or of a collection those that the parameters select."""
        await self.send("DELETE", path, options or {}, params=params)

    async def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        """The body of a good answer. Raises Unreachable and Refused."""
        try:
            # Without the body: searching that for the client's models takes longer than sending it.
            _, url, headers, *_ = await self.client.param_serialize(
                method,
                path,
                query_params=list((params or {}).items()),
                header_params={"Accept": accept, "Content-Type": content_type},
                auth_settings=["BearerToken"],
            )
            response = await self.client.call_api(method, url, headers, body, _request_timeout=_TIMEOUT)
            content: bytes = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(str(error) or type(error).__name__) from error
        if response.status >= 400:
            raise _refused(response.status, content)
        return content


def _version(content: bytes) -> int:
    return int(msgspec.json.decode(content, type=_Written).metadata.resource_version)


def _refused(code: int, content: bytes) -> Refused:
    try:
        status = msgspec.json.decode(content, type=_Status)
    except msgspec.DecodeError:
        status = _Status()
    causes = (cause for cause in status.details.causes if cause.reason == "FieldManagerConflict")
    # The message: conflict with "kubectl-edit" using ...
    conflicts = {cause.field: cause.message.split('"')[1] for cause in causes}
    return Refused(code, status.message or f"HTTP {code}", conflicts)
