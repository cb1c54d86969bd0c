"""Counters, gauges and histograms whose values are added up over all worker processes of a server.

prometheus-client's own multi-process mode costs 1.5 us a count and 2.6 us an observation, a tenth of a
request; these cost 0.1 and 0.4 us. What need not be added up (the age of a folder that every worker reads)
is an ordinary prometheus-client metric with `registry=REGISTRY`: the answering worker's own value.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import ClassVar, Generic, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client import Gauge as LocalGauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from tenantry_core.http.cells import Cells
from tenantry_core.http.messages import Response
from tenantry_core.version import VERSION

REGISTRY = CollectorRegistry()
"""What `metrics_response` answers; the metrics of this module are in it."""

_cells = Cells.open()

LATENCY_BUCKETS = tuple(base * 10.0**power for power in range(-4, 1) for base in (1.0, 2.5, 5.0))
"""Seconds. A warm prediction takes a fraction of a millisecond, a cold one up to seconds."""


def metrics_response() -> Response:
    """The answer to `GET /metrics`, in Prometheus's text format."""
    return Response(200, ((b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode()),), generate_latest(REGISTRY))


class Value:
    """One number. Hot code keeps it rather than asking for it by its labels each time."""

    __slots__ = ("_index", "_values")

    def __init__(self, index: int) -> None:
        self._index = index
        self._values = _cells.values

    def inc(self, amount: float = 1.0) -> None:
        """Add `amount`; negative only where the metric is a gauge."""
        self._values[self._index] += amount


class Distribution:
    """Observations of one histogram: a count per bucket and their sum."""

    __slots__ = ("_buckets", "_index", "_sum", "_values")

    def __init__(self, index: int, buckets: tuple[float, ...]) -> None:
        self._index = index
        self._sum = index + len(buckets) + 1
        self._buckets = buckets
        self._values = _cells.values

    def observe(self, amount: float) -> None:
        """Count `amount` in its bucket."""
        self._values[self._index + bisect_left(self._buckets, amount)] += 1.0
        self._values[self._sum] += amount


Child = TypeVar("Child", Value, Distribution)


class _Family(Generic[Child]):
    """One metric and its children, one per combination of label values."""

    width: int = 1

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> None:
        self.name = name
        self.documentation = documentation
        self.label_names = labels
        self._children: dict[tuple[str, ...], Child] = {}
        _Collector.families.append(self)

    def labels(self, *values: str) -> Child:
        """The child for these label values, in the order of the metric's labels. Keep their number small."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} has the labels {self.label_names}")
            child = self._children[values] = self._child(_cells.index((self.name, values), self.width))
        return child

    def _child(self, index: int) -> Child:
        raise NotImplementedError

    def metric(self, samples: Iterable[tuple[tuple[str, ...], list[float]]]) -> Metric:
        """The family as prometheus-client's own type, for the text format."""
        raise NotImplementedError


class Counter(_Family[Value]):
    """Counts up. The name ends in `_total`."""

    def _child(self, index: int) -> Value:
        return Value(index)

    def metric(self, samples: Iterable[tuple[tuple[str, ...], list[float]]]) -> Metric:
        family = CounterMetricFamily(self.name, self.documentation, labels=self.label_names)
        for labels, (value,) in samples:
            family.add_metric(labels, value)
        return family


class Gauge(_Family[Value]):
    """Goes up and down by `inc`; the sum over all workers. A worker that starts begins at zero."""

    def _child(self, index: int) -> Value:
        _cells.values[index] = 0.0
        return Value(index)

    def metric(self, samples: Iterable[tuple[tuple[str, ...], list[float]]]) -> Metric:
        family = GaugeMetricFamily(self.name, self.documentation, labels=self.label_names)
        for labels, (value,) in samples:
            family.add_metric(labels, value)
        return family


class Histogram(_Family[Distribution]):
    """Counts observations by size."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...] = (),
        buckets: tuple[float, ...] = LATENCY_BUCKETS,
    ) -> None:
        self._buckets = buckets
        self.width = len(buckets) + 2  # one for what is larger than all, one for the sum
        super().__init__(name, documentation, labels)

    def _child(self, index: int) -> Distribution:
        return Distribution(index, self._buckets)

    def metric(self, samples: Iterable[tuple[tuple[str, ...], list[float]]]) -> Metric:
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.label_names)
        bounds = [*map(str, self._buckets), "+Inf"]
        for labels, (*counts, total) in samples:
            cumulative = [sum(counts[: i + 1]) for i in range(len(counts))]
            family.add_metric(labels, list(zip(bounds, cumulative, strict=True)), sum_value=total)
        return family


class _Collector:
    families: ClassVar[list[_Family[Value] | _Family[Distribution]]] = []

    def collect(self) -> Iterable[Metric]:
        samples: dict[str, list[tuple[tuple[str, ...], list[float]]]] = {}
        for (name, labels), values in _cells.totals().items():
            samples.setdefault(name, []).append((labels, values))
        for family in self.families:
            yield family.metric(samples.get(family.name, ()))


REGISTRY.register(_Collector())
ProcessCollector(registry=REGISTRY)  # of the worker that answers
LocalGauge(
    "tenantry_build_info", "Always 1; the label tells the version.", ["version"], registry=REGISTRY
).labels(VERSION).set(1)

REFUSED = Counter(
    "tenantry_http_refused_total",
    "Requests that were refused while they were read: malformed, too large, too slow, or one body too many.",
    ("status",),
)
