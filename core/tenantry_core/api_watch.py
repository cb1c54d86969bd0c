"""Follows one collection of the API server: a list, then watches that resume where the last one ended."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient

logger = logging.getLogger(__name__)

_LIST_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=5)
_WATCH_SECONDS = 300
"""The API server ends a watch after this time, give or take, so that routers spread over its replicas."""
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=5, sock_read=100)
"""Bookmarks come every minute; a connection that has been silent for longer is dead."""
_SHORTEST_DELAY = 0.2
_LONGEST_DELAY = 8.0
"""Seconds before another attempt; doubled each time, with jitter."""
_GONE = 410

T = TypeVar("T")


class Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class Named(msgspec.Struct):
    """As much of an object as this module reads."""

    metadata: Metadata


class _ListMetadata(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion")
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw]


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


class Collection(NamedTuple):
    path: str
    label_selector: str = ""
    page: int = 50
    """Objects per page of a list: PlacementSlices may have 500 kB each."""


class Sink(Protocol[T]):
    """Where objects go. Nothing in here waits."""

    def read(self, data: bytes) -> T:
        """What to keep of an object's JSON until a list is complete."""
        ...

    def replace(self, objects: Sequence[T]) -> None:
        """These are all objects there are."""
        ...

    def put(self, item: T) -> None: ...

    def remove(self, name: str, namespace: str) -> None: ...


class Unreachable(Exception):
    """The API server does not answer, or answers with an error."""


class Expired(Exception):
    """The API server no longer knows the changes since the version that was asked for."""


class ApiWatch(Generic[T]):
    """Keeps a sink equal to a collection."""

    def __init__(
        self, api: ApiClient, collection: Collection, sink: Sink[T], on_contact: Callable[[bool], None]
    ) -> None:
        """`on_contact` is told whenever a watch stands (True) or an attempt has failed (False)."""
        self._api = api
        self._collection = collection
        self._sink = sink
        self._on_contact = on_contact
        self._version = ""
        """The resourceVersion up to which the sink is current; empty: a list is needed."""

    async def run(self) -> None:
        """Follow until cancelled."""
        delay = _SHORTEST_DELAY
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._follow_once()
            except Expired as error:
                logger.info("%s: listing again: %s", self._collection.path, error)
                self._version = ""
            except Unreachable as error:
                logger.warning("%s: %s", self._collection.path, error)
                self._on_contact(False)
            lasted = asyncio.get_running_loop().time() - started
            delay = _SHORTEST_DELAY if lasted > _LONGEST_DELAY else min(_LONGEST_DELAY, 2 * delay)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))

    async def _follow_once(self) -> None:
        """A list where one is needed, then one watch to its end. Raises Expired and Unreachable."""
        try:
            if not self._version:
                await self._list()
            await self._watch()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(str(error) or type(error).__name__) from error
        except msgspec.DecodeError as error:
            raise Unreachable(f"what the API server sent is not what was asked for: {error}") from error

    async def _list(self) -> None:
        """Read every page before anything is taken over: half a list must not delete the other half."""
        objects: list[T] = []
        following = ""
        while True:
            params = {"limit": str(self._collection.page), "continue": following}
            async with await self._get(params, _LIST_TIMEOUT) as response:
                page = msgspec.json.decode(await response.read(), type=_List)
            objects += [self._sink.read(bytes(item)) for item in page.items]
            following = page.metadata.continue_
            if not following:
                break
        self._sink.replace(objects)
        self._version = page.metadata.resource_version

    async def _watch(self) -> None:
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(_WATCH_SECONDS * random.uniform(0.8, 1.2))),
        }
        async with await self._get(params, _WATCH_TIMEOUT) as response:
            self._on_contact(True)
            async for line in _lines(response):
                self._take(msgspec.json.decode(line, type=_Event))

    def _take(self, event: _Event) -> None:
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object, type=_Status)
            raise Expired(status.message) if status.code == _GONE else Unreachable(status.message)
        metadata = msgspec.json.decode(event.object, type=Named).metadata
        if event.type == "DELETED":
            self._sink.remove(metadata.name, metadata.namespace)
        elif event.type in ("ADDED", "MODIFIED"):
            self._sink.put(self._sink.read(bytes(event.object)))
        self._version = metadata.resource_version

    async def _get(self, params: dict[str, str], timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        params = {"labelSelector": self._collection.label_selector} | params
        request = await self._api.param_serialize(
            "GET",
            self._collection.path,
            query_params=[item for item in params.items() if item[1]],
            # Compressing what stays in a cluster costs both sides more than it saves.
            header_params={"Accept": "application/json", "Accept-Encoding": "identity"},
            auth_settings=["BearerToken"],
        )
        answer = await self._api.call_api(*request, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        if response.status >= 400:
            async with response:
                message = _message(await response.read())
            if response.status == _GONE:
                raise Expired(message)
            raise Unreachable(f"the API server answers {response.status}: {message}")
        return response


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length; an event holds a whole object."""
    parts: list[bytes] = []
    async for chunk in response.content.iter_any():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join((*parts, end))
            parts = []
        parts.append(rest)


def _message(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Status).message
    except msgspec.DecodeError:
        return body[:200].decode(errors="replace")
