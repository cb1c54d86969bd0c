"""What `GET /metrics` tells. Counting a request costs a few additions; the text is made at the scrape.

Tenants are labels, but only the busiest: the rest is summed under `other`. No label holds a user's id.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from tenantry_core.http.metrics import LATENCY_BUCKETS
from tenantry_predictor.repositories.loader import Origin

OTHER = "other"
_BUSIEST = 20
_MOST_TENANTS = 10_000
"""Counted apart between two scrapes; with more, those so far are folded."""
_DECAY = 0.5
"""What a past scrape weighs against the next when the busiest are chosen."""


@dataclass(slots=True)
class _Counts:
    """Of one tenant."""

    origins: dict[Origin, int] = field(default_factory=lambda: {"hit": 0, "disk": 0, "miss": 0})
    errors: dict[int, int] = field(default_factory=dict)
    """By status."""
    buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS) + 1))
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        return sum(self.buckets)

    def add(self, other: _Counts) -> None:
        for origin, count in other.origins.items():
            self.origins[origin] += count
        for status, count in other.errors.items():
            self.errors[status] = self.errors.get(status, 0) + count
        self.buckets = [mine + more for mine, more in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds


class Metrics:
    """A collector for prometheus-client's registry."""

    def __init__(self, busiest: int = _BUSIEST) -> None:
        self._busiest = busiest
        self._recent: dict[str, _Counts] = {}
        """Since the last scrape, by tenant."""
        self._shown: dict[str, _Counts] = {OTHER: _Counts()}
        """What is exported, by label: counters that never go back while their label is there."""
        self._total = _Counts()
        self._weight: dict[str, float] = {}

    def answered(self, tenant: str, origin: Origin, seconds: float) -> None:
        """One prediction was made, `seconds` after it was asked for."""
        counts = self._of(tenant)
        counts.origins[origin] += 1
        counts.seconds += seconds
        counts.buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1

    def failed(self, tenant: str, status: int, begun: float) -> None:
        """A prediction was answered with a problem; `begun` is in `time.perf_counter`'s time."""
        counts = self._of(tenant)
        seconds = time.perf_counter() - begun
        counts.errors[status] = counts.errors.get(status, 0) + 1
        counts.seconds += seconds
        counts.buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1

    def collect(self) -> Iterable[Metric]:
        self._fold()
        yield from self._requests()
        yield from self._totals()

    def _of(self, tenant: str) -> _Counts:
        counts = self._recent.get(tenant)
        if counts is None:
            if len(self._recent) >= _MOST_TENANTS:
                self._fold()
            counts = self._recent[tenant] = _Counts()
        return counts

    def _fold(self) -> None:
        """Add what is new to its labels. A tenant that is displaced ends its series, as a vanished pod does.

        Its past is not added to `other`: that would look like a burst of requests.
        """
        recent, self._recent = self._recent, {}
        weight = {tenant: known * _DECAY for tenant, known in self._weight.items()}
        for tenant, counts in recent.items():
            weight[tenant] = weight.get(tenant, 0.0) + counts.requests
        busiest = set(sorted(weight, key=lambda tenant: -weight[tenant])[: self._busiest])
        self._weight = {tenant: weight[tenant] for tenant in busiest}
        for tenant in self._shown.keys() - busiest - {OTHER}:
            del self._shown[tenant]
        for tenant, counts in recent.items():
            label = tenant if tenant in busiest else OTHER
            self._shown.setdefault(label, _Counts()).add(counts)
            self._total.add(counts)

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "tenantry_predictor_requests",
            "Predictions asked for, by where the model was.",
            labels=("tenant", "cache"),
        )
        errors = CounterMetricFamily(
            "tenantry_predictor_errors", "Predictions answered with a problem.", labels=("tenant", "status")
        )
        duration = HistogramMetricFamily(
            "tenantry_predictor_request_seconds", "From a request to its answer.", labels=("tenant",)
        )
        bounds = [*map(str, LATENCY_BUCKETS), "+Inf"]
        for tenant, counts in self._shown.items():
            for origin, count in counts.origins.items():
                requests.add_metric((tenant, origin), count)
            for status, count in counts.errors.items():
                errors.add_metric((tenant, str(status)), count)
            cumulative = [sum(counts.buckets[: i + 1]) for i in range(len(bounds))]
            duration.add_metric(
                (tenant,), list(zip(bounds, cumulative, strict=True)), sum_value=counts.seconds
            )
        yield from (requests, errors, duration)

    def _totals(self) -> Iterator[Metric]:
        """Of all tenants: these never go back, whoever is displaced."""
        origins = self._total.origins
        for name, help_text, value in (
            ("cache_hits", "Predictions whose model was in memory.", origins["hit"]),
            ("cache_disk_hits", "Predictions whose model was on the disk.", origins["disk"]),
            ("cache_misses", "Predictions whose model had to be fetched.", origins["miss"]),
        ):
            yield CounterMetricFamily(f"tenantry_predictor_{name}", help_text, value=value)
