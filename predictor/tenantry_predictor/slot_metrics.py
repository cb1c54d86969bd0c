"""What `GET /metrics` tells of the slot as a whole: nothing is counted for it, all is read at the scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tenantry_predictor.dataplane import DataPlane
from tenantry_predictor.repositories.disk import DiskTier
from tenantry_predictor.repositories.memory import MemoryTier


class SlotMetrics:
    """A collector for prometheus-client's registry."""

    def __init__(
        self, memory: MemoryTier, disk: DiskTier, plane: DataPlane, is_ready: Callable[[], bool]
    ) -> None:
        self._memory = memory
        self._disk = disk
        self._plane = plane
        self._is_ready = is_ready

    def collect(self) -> Iterable[Metric]:
        memory, disk, plane = self._memory, self._disk, self._plane
        for name, help_text, value in (
            ("evictions", "Models that left memory to make room.", memory.evictions),
            ("unadmitted", "Models loaded and not kept: others were worth more.", memory.refusals),
            ("busy_seconds", "Time spent on predicting, of one core.", plane.busy_seconds),
        ):
            yield CounterMetricFamily(f"tenantry_predictor_{name}", help_text, value=value)
        for name, help_text, value in (
            ("ready", "1 once its share of models is warm.", self._is_ready()),
            ("in_flight", "Predictions that wait for a load or for a thread.", plane.in_flight),
            ("models", "Models in memory.", len(memory)),
            ("model_bytes", "Measured bytes of the models in memory.", memory.used_bytes),
            ("pinned_model_bytes", "Of these, bytes that are never evicted.", memory.pinned_bytes),
            ("model_bytes_budget", "Bytes that models may take in memory.", memory.budget_bytes),
            ("disk_bytes", "Bytes of fetched artifacts on the disk.", disk.used_bytes),
            ("disk_bytes_budget", "Bytes that artifacts may take on the disk.", disk.budget_bytes),
        ):
            yield GaugeMetricFamily(f"tenantry_predictor_{name}", help_text, value=value)
