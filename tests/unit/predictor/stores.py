"""A store whose moments a test decides, and a cache over it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from artifacts.graphs import digest
from tenantry_predictor.errors import ArtifactNotFound, LoadError
from tenantry_predictor.repositories.base import Source, Write
from tenantry_predictor.repositories.cached import CachedModelRepository
from tenantry_predictor.repositories.disk import DiskTier
from tenantry_predictor.repositories.loader import ArtifactLoader
from tenantry_predictor.runtimes import onnx
from tenantry_predictor.runtimes.base import LoadedModel
from tenantry_predictor.runtimes.registry import Runtimes

DEADLINE = 60.0


class Store:
    """Objects by URI; counts fetches, fails or hangs on demand."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fetches: list[str] = []
        self.tags: list[str] = []
        self.error: LoadError | None = None
        self.hung: dict[str, threading.Event] = {}

    def put(self, name: str, data: bytes) -> str:
        uri = f"s3://models/{name}"
        self.objects[uri] = data
        return uri

    def hang(self, tenant: str) -> threading.Event:
        """Fetches of the tenant wait until the event is set."""
        return self.hung.setdefault(tenant, threading.Event())

    def fetch(self, source: Source, write: Write) -> str:
        self.fetches.append(source.uri)
        if source.tenant in self.hung:
            self.hung[source.tenant].wait(DEADLINE)
        if self.error is not None:
            raise self.error
        data = self._get(source)
        for start in range(0, len(data), 1000):
            write(data[start : start + 1000])
        return self._tag(source)

    def tag(self, source: Source) -> str:
        self.tags.append(source.uri)
        if source.tenant in self.hung:
            self.hung[source.tenant].wait(DEADLINE)
        if self.error is not None:
            raise self.error
        return self._tag(source)

    def _tag(self, source: Source) -> str:
        return f'"{digest(self._get(source))[:8]}"'

    def _get(self, source: Source) -> bytes:
        try:
            return self.objects[source.uri]
        except KeyError as error:
            raise ArtifactNotFound(f"There is no object {source.uri}.") from error


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def keeps_its_size(_: str, path: Path) -> LoadedModel:
    """An ONNX model that nothing is made of in the background, whenever that would be."""
    model = onnx.load(path)
    if model.wasteful:
        model.wasteful = False
    return model


class Opener(Runtimes):
    """Runtimes that open as a test says."""

    def __init__(self, open_model: Callable[[str, Path], LoadedModel]) -> None:
        super().__init__()
        self._open_model = open_model

    def open(self, model_format: str, path: Path) -> LoadedModel:
        return self._open_model(model_format, path)


class Bench:
    """A cache over a store and a folder."""

    def __init__(
        self,
        directory: Path,
        *,
        memory: int = 1 << 30,
        disk: int = 1 << 30,
        open_model: Callable[[str, Path], LoadedModel] = keeps_its_size,
    ) -> None:
        self.store = Store()
        self.clock = Clock()
        self.disk = DiskTier(directory, disk, 1 << 30)
        self.cache = CachedModelRepository(
            ArtifactLoader({"s3": self.store}, self.disk, Opener(open_model)), memory, clock=self.clock
        )

    def source(self, name: str, data: bytes, tenant: str = "acme", *, pinned: bool = True) -> Source:
        """An object in the store, and how it is asked for."""
        uri = self.store.put(name, data)
        return Source(f"models.{tenant}", tenant, uri, "onnx", digest(data) if pinned else "")


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(scenario(), DEADLINE)

    asyncio.run(limited())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in threads
        await asyncio.sleep(0.001)
