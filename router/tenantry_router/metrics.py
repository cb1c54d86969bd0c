"""What the router counts, summed over its worker processes. No label ever holds a user's id."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from prometheus_client import Gauge as LocalGauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tenantry_core.http.metrics import REGISTRY, Counter, Gauge, Histogram, Value
from tenantry_core.problems import Problem
from tenantry_core.snapshot import SourceState
from tenantry_router.fleet import Fleet
from tenantry_router.table import Table

REQUESTS = Counter("tenantry_router_requests_total", "Requests that needed a slot, by status.", ("status",))
PROBLEMS = Counter(
    "tenantry_router_problems_total",
    "Of the requests, those that were answered with a problem, by status and reason.",
    ("status", "reason"),
)
DURATION = Histogram(
    "tenantry_router_request_seconds", "From the request to its answer, for those that were sent to a slot."
).labels()
IN_FLIGHT = Gauge("tenantry_router_requests_in_flight", "Requests sent to a slot, not yet answered.").labels()
UPSTREAM_ERRORS = Counter(
    "tenantry_router_upstream_errors_total", "Requests to slots that got no answer, by why.", ("failure",)
)
RETRIES = Counter("tenantry_router_retries_total", "Requests sent to a second slot.").labels()
RETRIES_REFUSED = Counter(
    "tenantry_router_retries_refused_total", "Second attempts that the retry budget did not allow."
).labels()
EJECTIONS = Counter("tenantry_router_ejections_total", "Slots put out of rotation, by slot.", ("slot",))
CORRUPT_FILES = Counter(
    "tenantry_router_corrupt_files_total", "Files of the snapshot folder that could not be read."
).labels()
USER_LOOK_UPS = Counter(
    "tenantry_router_user_lookups_total",
    "Users that the users database was asked about: found, unknown to it, or failed.",
    ("outcome",),
)
USER_LOOK_UP_SECONDS = Histogram(
    "tenantry_router_user_lookup_seconds", "One query to the users database, for one user or many."
).labels()

MODELS = LocalGauge("tenantry_router_models", "Models in the routing table.", registry=REGISTRY)
SLICES = LocalGauge("tenantry_router_slices", "Slices in the routing table.", registry=REGISTRY)
SOURCE_CONNECTED = LocalGauge(
    "tenantry_router_source_connected",
    "1 while the snapshot folder is in touch with its source, 0 while it serves from its last content.",
    registry=REGISTRY,
)
SNAPSHOT_AGE = LocalGauge(
    "tenantry_router_snapshot_age_seconds",
    "How long the folder has been without its source; 0 while it is connected.",
    registry=REGISTRY,
)

_by_status: dict[int, Value] = {status: REQUESTS.labels(str(status)) for status in (200, 502, 503, 504)}
"""These are there from the start: Prometheus takes no notice of a counter's first value."""
USERS_FOUND, USERS_UNKNOWN, USERS_FAILED = map(USER_LOOK_UPS.labels, ("found", "unknown", "failed"))


def count_request(status: int) -> None:
    """One prediction was answered with `status`."""
    value = _by_status.get(status)
    if value is None:
        value = _by_status[status] = REQUESTS.labels(str(status))
    value.inc()


def count_problem(status: int, reason: str) -> None:
    """Tells why; that the prediction was answered is counted beside it."""
    PROBLEMS.labels(str(status), reason).inc()


def count_refusal(problem: Problem) -> None:
    """One prediction was answered without being sent to a slot."""
    count_request(problem.status)
    count_problem(problem.status, problem.reason)


class _Slots(Collector):
    """Slots by pool and state; a pool whose last slot has lost its address is not there any more."""

    fleet: Fleet | None = None

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "tenantry_router_slots",
            "Slots with an address, by state: available, ejected (they fail or hang), or not ready.",
            labels=("pool", "state"),
        )
        for name, pool in self.fleet.pools.items() if self.fleet else ():
            counts = dict.fromkeys(("available", "ejected", "not_ready"), 0)
            for slot in pool.slots.values():
                counts["ejected" if slot.ejected else "available" if slot.ready else "not_ready"] += 1
            for state, count in counts.items():
                family.add_metric((name, state), count)
        yield family


_slots = _Slots()
REGISTRY.register(_slots)


def show(table: Table, fleet: Fleet, source: Callable[[], SourceState | None]) -> None:
    """Let the gauges read the present state whenever they are asked for."""
    MODELS.set_function(lambda: len(table.models))
    SLICES.set_function(lambda: len(table.slices))
    _slots.fleet = fleet
    SOURCE_CONNECTED.set_function(lambda: _is_connected(source()))
    SNAPSHOT_AGE.set_function(lambda: _age(source()))


def _is_connected(state: SourceState | None) -> bool:
    return state is not None and state.connected


def _age(state: SourceState | None) -> float:
    return max(0.0, time.time() - state.since) if state is not None and not state.connected else 0.0
