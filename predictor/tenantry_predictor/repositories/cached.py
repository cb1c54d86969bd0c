"""`reference -> memory -> disk -> store`: the article's cache, by measured bytes and safe under load."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from tenantry_core.http.metrics import Counter, Histogram
from tenantry_predictor.errors import LoadError
from tenantry_predictor.repositories.base import Key, Source
from tenantry_predictor.repositories.failures import FailureMemory
from tenantry_predictor.repositories.flights import Flights
from tenantry_predictor.repositories.loader import ArtifactLoader, Loaded, Origin
from tenantry_predictor.repositories.memory import Entry, MemoryTier
from tenantry_predictor.runtimes.base import LoadedModel

_TAG_SECONDS = 30.0
"""How long an unpinned artifact is served before its store is asked whether it changed."""
_TAGS = 10_000

_LOAD_SECONDS = Histogram(
    "tenantry_predictor_load_seconds",
    "To fetch (from the disk tier, or the store on a miss) and open a model, without waiting for a turn.",
    ("origin",),
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
)
_LOAD_FAILURES = Counter(
    "tenantry_predictor_load_failures_total", "Models that could not be loaded, by why.", ("reason",)
)


@dataclass(slots=True)
class _Version:
    """What an unpinned artifact was when its store was last asked."""

    key: Key
    tag: str
    checked: float


class _Trip(NamedTuple):
    """What a flight loads."""

    source: Source
    anew: bool = False
    """From the store, whatever is remembered of an unpinned artifact."""


class CachedModelRepository:
    """Loaded models by source. For one event loop's thread; all that blocks is the loader's business.

    Entries handed out are held by the caller until `release`. Pinned artifacts are looked up by digest;
    the digest of an unpinned one is remembered with the store's tag, which is looked at again every 30 s.
    """

    def __init__(
        self,
        loader: ArtifactLoader,
        budget_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory = MemoryTier(budget_bytes, _dispose)
        self.failures = FailureMemory(clock)
        self._loader = loader
        self._clock = clock
        self._versions: OrderedDict[Source, _Version] = OrderedDict()
        self._flights: Flights[_Trip, tuple[Entry, Loaded]] = Flights(self._fly, self)
        self._checks: dict[Source, asyncio.Task[None]] = {}

    def peek(self, source: Source) -> Entry | None:
        """The entry if it is warm, not held: for use before control returns to the loop."""
        key = source.key or self._known_key(source)
        return self.memory.get(key) if key is not None else None

    async def acquire(self, source: Source) -> tuple[Entry, Origin]:
        """The entry, loaded if need be. Raises LoadError, at once while a recent failure is remembered."""
        entry = self.peek(source)
        if entry is not None:
            self.memory.hold(entry)
            return entry, "hit"
        failure = self.failures.current(source)
        if failure is not None:
            raise failure.error.with_traceback(None)  # or it would grow with each time it is raised
        entry, loaded = await self._flights.join(_Trip(source))
        return entry, loaded.origin

    def retry_after(self, source: Source) -> int:
        """Whole seconds after which a failed load is tried again."""
        return self.failures.retry_after(source)

    async def load(self, source: Source, *, pinned: bool = False) -> Entry:
        """Make it warm, to stay if it is `pinned` and as any other if not; tries even after a failure.

        An unpinned source is fetched anew, whatever is remembered of it. Raises LoadError.
        """
        entry = self.peek(source) if source.key else None
        if entry is not None:
            self.memory.hold(entry)
        else:
            entry, _ = await self._flights.join(_Trip(source, anew=True))
        entry.requests.setdefault(source.model, 0)
        if pinned:
            self.memory.pin(entry, source.model)
        else:
            self.memory.unpin(entry, source.model)
        return entry

    async def verify(self, source: Source) -> Entry:
        """As `load`, but nothing is evicted for it: it stays where memory is free, as the first to evict."""
        entry = self.peek(source) if source.key else None
        if entry is not None:
            self.memory.hold(entry)
            return entry
        try:
            loaded = await self._loader.load(source, spare_disk=True)
        except LoadError as error:
            _LOAD_FAILURES.labels(error.reason).inc()
            raise
        self._loaded(source, loaded)
        key = Key(source.tenant, loaded.sha256, source.format)
        entry = self.memory.add(key, loaded.model, loaded.seconds, spare=True)
        entry.requests.setdefault(source.model, 0)
        return entry

    def unload(self, source: Source) -> None:
        """Make it the first to evict; what is in use stays in use."""
        key = source.key or self._known_key(source)
        if key is not None:
            self.memory.condemn(key, source.model)

    def hold(self, held: tuple[Entry, Loaded]) -> None:
        """For the flights: one more waiter has the entry."""
        self.memory.hold(held[0])

    def release(self, held: tuple[Entry, Loaded]) -> None:
        """For the flights: a waiter that has the entry went away."""
        self.memory.release(held[0])

    def close(self) -> None:
        for check in self._checks.values():
            check.cancel()
        self._loader.close()
        self.memory.close()

    async def _fly(self, trip: _Trip, started: Callable[[], None]) -> tuple[Entry, Loaded]:
        source = trip.source
        known = None if trip.anew else self._versions.get(source)
        try:
            loaded = await self._loader.load(source, known.key.sha256 if known else "", started=started)
        except LoadError as error:
            _LOAD_FAILURES.labels(error.reason).inc()
            self.failures.record(source, error)
            raise
        self._loaded(source, loaded)
        key = Key(source.tenant, loaded.sha256, source.format)
        return self.memory.add(key, loaded.model, loaded.seconds), loaded

    def _loaded(self, source: Source, loaded: Loaded) -> None:
        _LOAD_SECONDS.labels(loaded.origin).observe(loaded.seconds)
        self.failures.forget(source)
        if source.key is None and loaded.origin == "miss":
            self._remember(source, Key(source.tenant, loaded.sha256, source.format), loaded.tag)

    # Unpinned sources

    def _remember(self, source: Source, key: Key, tag: str) -> None:
        self._versions[source] = _Version(key, tag, self._clock())
        self._versions.move_to_end(source)
        if len(self._versions) > _TAGS:
            self._versions.popitem(last=False)

    def _known_key(self, source: Source) -> Key | None:
        version = self._versions.get(source)
        if version is None:
            return None
        if self._clock() - version.checked > _TAG_SECONDS and source not in self._checks:
            check = asyncio.create_task(self._check(source, version))
            self._checks[source] = check
            check.add_done_callback(lambda _: self._checks.pop(source, None))
        return version.key

    async def _check(self, source: Source, version: _Version) -> None:
        """Serve what is there until its successor is loaded; a store that is away changes nothing."""
        version.checked = self._clock()
        with suppress(LoadError):
            if await self._loader.tag(source) != version.tag:
                self.release(await self._flights.join(_Trip(source, anew=True)))


def _dispose(model: LoadedModel) -> None:
    """A model in another process may take its time to end; that is nothing to wait for."""
    if model.blocks:
        asyncio.get_running_loop().run_in_executor(None, model.close)
    else:
        model.close()
