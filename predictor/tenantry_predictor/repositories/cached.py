"""`reference -> memory -> disk -> store`: the article's cache, by measured bytes and safe under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from tenantry_core.http.metrics import Counter, Histogram
from tenantry_predictor.errors import ArtifactNotFound, LoadError
from tenantry_predictor.repositories.base import Key, Source
from tenantry_predictor.repositories.failures import FailureMemory
from tenantry_predictor.repositories.flights import Flights
from tenantry_predictor.repositories.freshness import REFRESH_SECONDS, Freshness
from tenantry_predictor.repositories.loader import ArtifactLoader, Loaded, Origin
from tenantry_predictor.repositories.memory import Entry, Eviction, MemoryTier
from tenantry_predictor.repositories.preparation import Preparation
from tenantry_predictor.runtimes.base import LoadedModel

_LOAD_SECONDS = Histogram(
    "tenantry_predictor_load_seconds",
    "To fetch (from the disk tier, or the store on a miss) and open a model, without waiting for a turn.",
    ("origin",),
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
)
_LOAD_FAILURES = Counter(
    "tenantry_predictor_load_failures_total", "Models that could not be loaded, by why.", ("reason",)
)


class _Trip(NamedTuple):
    """What a flight loads."""

    source: Source
    anew: bool = False
    """From the store, whatever is remembered of an unpinned artifact."""


class CachedModelRepository:
    """Loaded models by source. For one event loop's thread; all that blocks is the loader's business.

    Entries handed out are held by the caller until `release`. Pinned artifacts are looked up by digest;
    `freshness` knows that of an unpinned one.
    """

    def __init__(
        self,
        loader: ArtifactLoader,
        budget_bytes: int,
        refresh_seconds: float = REFRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        eviction: Eviction = "LFU",
    ) -> None:
        self.memory = MemoryTier(budget_bytes, _dispose, eviction)
        self.failures = FailureMemory(clock)
        self._loader = loader
        self._preparation = Preparation(loader, self.memory)
        self._clock = clock
        self.freshness = Freshness(loader.tag, self, refresh_seconds, clock)
        self._flights: Flights[_Trip, tuple[Entry, Loaded]] = Flights(self._fly, self)

    def peek(self, source: Source) -> Entry | None:
        """The entry if it is warm, not held: for use before control returns to the loop.

        Whoever uses it tells `memory.touched`.
        """
        key = source.key or self.freshness.fresh(source)
        return self.memory.get(key) if key is not None else None

    async def acquire(self, source: Source) -> tuple[Entry, Origin]:
        """The entry, loaded if need be. Raises LoadError, at once while a recent failure is remembered."""
        entry = self.peek(source)
        if entry is None and source.key is None:
            await self.freshness.settle(source)
            entry = self.peek(source)
        if entry is not None:
            self.memory.touched(entry)
            self.memory.hold(entry)
            return entry, "hit"
        failure = self.failures.current(source)
        if failure is not None:
            raise failure
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
            self.memory.keep(entry)
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
        asked = self._clock()
        try:
            loaded = await self._loader.load(source, spare_disk=True)
        except LoadError as error:
            _LOAD_FAILURES.labels(error.reason).inc()
            raise
        key = self._loaded(source, loaded, asked)
        entry = self.memory.add(key, loaded.model, loaded.again_seconds, spare=True)
        entry.loaded_seconds = loaded.seconds
        self._preparation.later(entry)
        entry.requests.setdefault(source.model, 0)
        return entry

    def unload(self, source: Source) -> None:
        """Make it the first to evict; what is in use stays in use."""
        key = source.key or self.freshness.known(source)
        if key is not None:
            self.memory.condemn(key, source.model)

    def hold(self, held: tuple[Entry, Loaded]) -> None:
        """For the flights: one more waiter has the entry."""
        self.memory.hold(held[0])

    def release(self, held: tuple[Entry, Loaded]) -> None:
        """For the flights: a waiter that has the entry went away."""
        self.memory.release(held[0])

    async def refetch(self, source: Source) -> None:
        """For the freshness: what was known serves until this is loaded, and on if it cannot be."""
        try:
            self.release(await self._flights.join(_Trip(source, anew=True)))
        except LoadError:
            self.failures.forget(source)
            raise

    def forget(self, source: Source, key: Key, error: ArtifactNotFound) -> None:
        """For the freshness: the store has it no more."""
        self.failures.record(source, error)
        self.memory.condemn(key, source.model)

    def close(self) -> None:
        self.freshness.close()
        self._preparation.close()
        self._loader.close()
        self.memory.close()

    async def _fly(self, trip: _Trip, started: Callable[[], None]) -> tuple[Entry, Loaded]:
        source, asked = trip.source, self._clock()
        known = None if trip.anew else self.freshness.known(source)
        try:
            loaded = await self._loader.load(source, known.sha256 if known else "", started=started)
        except LoadError as error:
            _LOAD_FAILURES.labels(error.reason).inc()
            self.failures.record(source, error)
            raise
        key = self._loaded(source, loaded, asked)
        entry = self.memory.add(key, loaded.model, loaded.again_seconds, keep=trip.anew)
        entry.loaded_seconds = loaded.seconds
        self._preparation.later(entry)
        return entry, loaded

    def _loaded(self, source: Source, loaded: Loaded, asked: float) -> Key:
        _LOAD_SECONDS.labels(loaded.origin).observe(loaded.seconds)
        self.failures.forget(source)
        key = Key(source.tenant, loaded.sha256, source.format)
        if source.key is None and loaded.origin == "miss":
            self.freshness.remember(source, key, loaded.tag, asked)
        return key


def _dispose(model: LoadedModel) -> None:
    """A model in another process may take its time to end; that is nothing to wait for."""
    if model.blocks:
        asyncio.get_running_loop().run_in_executor(None, model.close)
    else:
        model.close()
