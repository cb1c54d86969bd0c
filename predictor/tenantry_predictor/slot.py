"""One predictor process: its settings, and its parts put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.registry import Collector

from tenantry_core import wire
from tenantry_core.http.metrics import REGISTRY
from tenantry_core.tokens import TokenFile
from tenantry_predictor.dataplane import DataPlane
from tenantry_predictor.endpoint import Tokens
from tenantry_predictor.metrics import Metrics
from tenantry_predictor.policy import Policy
from tenantry_predictor.references import References
from tenantry_predictor.repositories.base import StoreSettings
from tenantry_predictor.repositories.cached import CachedModelRepository
from tenantry_predictor.repositories.disk import DiskTier
from tenantry_predictor.repositories.freshness import REFRESH_SECONDS
from tenantry_predictor.repositories.loader import ArtifactLoader
from tenantry_predictor.repositories.memory import Eviction
from tenantry_predictor.repositories.stores import open_stores
from tenantry_predictor.runtimes.registry import Runtimes
from tenantry_predictor.slot_metrics import SlotMetrics


@dataclass(frozen=True, slots=True)
class Settings:
    """One slot's. Bytes and seconds."""

    slot: str
    cache_directory: Path
    cache_memory: int
    cache_disk: int
    eviction: Eviction = "LFU"
    prefixes: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    s3_endpoint: str = ""
    s3_region: str = ""
    tokens: TokenFile | None = None
    refresh: float = REFRESH_SECONDS
    """How old the store's word on an artifact of one user may be."""
    ready_after: float = 30.0
    """Seconds after its start or the last load that was asked for, after which it turns ready by itself."""


class Slot:
    """Everything of one predictor process."""

    def __init__(self, settings: Settings) -> None:
        """Raises CacheDirectoryUnusable."""
        self.settings = settings
        self.runtimes = Runtimes()
        limit = max(settings.cache_memory, settings.cache_disk)
        disk = DiskTier(settings.cache_directory, settings.cache_disk, limit)
        stores = open_stores(StoreSettings(settings.prefixes, settings.s3_endpoint, settings.s3_region))
        self.cache = CachedModelRepository(
            ArtifactLoader(stores, disk, self.runtimes),
            settings.cache_memory,
            settings.refresh,
            eviction=settings.eviction,
        )
        metrics = Metrics()
        self.plane = DataPlane(self.cache, metrics)
        self.references = References(Policy(settings.prefixes, settings.formats))
        self.tokens = Tokens(settings.tokens)
        self.ready = asyncio.Event()
        self._patience: asyncio.TimerHandle | None = None
        self._collectors: tuple[Collector, ...] = (
            metrics,
            SlotMetrics(self.cache.memory, disk, self.plane, self.ready.is_set),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.expect_loads()
        if not self.settings.ready_after:
            self.ready.set()
        for collector in self._collectors:
            REGISTRY.register(collector)
        await asyncio.to_thread(self.runtimes.expect, self.settings.formats)
        tokens = self.settings.tokens
        rereading = asyncio.create_task(tokens.follow()) if tokens else None
        try:
            yield
        finally:
            if rereading:
                rereading.cancel()
            for collector in self._collectors:
                REGISTRY.unregister(collector)
            if self._patience:
                self._patience.cancel()
            self.plane.close()
            self.runtimes.close()

    def expect_loads(self) -> None:
        """Whoever warms it is at work: the time after which it turns ready by itself begins anew."""
        if self._patience:
            self._patience.cancel()
        self._patience = asyncio.get_running_loop().call_later(self.settings.ready_after, self.ready.set)

    def report(self) -> wire.SlotReport:
        memory = self.cache.memory
        return wire.SlotReport(
            slot=self.settings.slot,
            budget_bytes=memory.budget_bytes,
            used_bytes=memory.used_bytes,
            busy_seconds=self.plane.busy_seconds,
            in_flight=self.plane.in_flight,
            ready=self.ready.is_set(),
            models=tuple(self._warm_models()),
        )

    def _warm_models(self) -> Iterator[wire.WarmModel]:
        """One for each version that is named, and one for all unpinned artifacts of a model together."""
        unpinned = dict.fromkeys(self.plane.unpinned, 0)
        for entry in self.cache.memory:
            key = entry.key
            for model, requests in entry.requests.items():
                pinned = model in entry.pinned_by
                yield wire.WarmModel(model, key.tenant, key.sha256, entry.size_bytes, requests, pinned)
            if (entry.unpinned_of, key.tenant) in unpinned:
                unpinned[entry.unpinned_of, key.tenant] += entry.size_bytes
        for (model, tenant), size in unpinned.items():
            yield wire.WarmModel(model, tenant, "", size, self.plane.unpinned.get((model, tenant), 0))
