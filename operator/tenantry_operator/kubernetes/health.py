"""What the kubelet and Prometheus ask: is it alive, does it follow the cluster, does it lead."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tenantry_core.version import VERSION
from tenantry_operator.kubernetes.feed import Feed
from tenantry_operator.planning.world import World
from tenantry_operator.reconciling.state import ObservedState

STALLED_AFTER = 120.0
"""Seconds for which watches may miss what listings show, before a restart is better."""

# A series more for each counter, which would say what process_start_time_seconds says.
disable_created_metrics()  # type: ignore[no-untyped-call]
_BUILD_INFO = Gauge("tenantry_build_info", "Always 1; the label tells the version.", ["version"])
_BUILD_INFO.labels(VERSION).set(1)


class Health:
    """Answers /livez, /readyz and /metrics."""

    def __init__(self, feed: Feed, state: ObservedState) -> None:
        self._feed = feed
        self._state = state
        self.leading = False

    async def serve(self, port: int) -> web.AppRunner:
        """Listens on every address; `cleanup()` of what it gives ends that. Raises OSError."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/livez", self._live),
                web.get("/readyz", self._ready),
                web.get("/metrics", _metrics),
            ]
        )
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=port).start()
        REGISTRY.register(_Observed(self._feed, self._state, self))
        return runner

    async def _live(self, _: web.Request) -> web.Response:
        since = self._feed.behind_since
        if since is not None and time.time() - since > STALLED_AFTER:
            return web.Response(status=503, text="the watches have missed changes for too long\n")
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        """A standby is ready too: it knows the cluster and waits for the Lease."""
        if not self._state.complete.is_set():
            return web.Response(status=503, text="the cluster has not been listed yet\n")
        return web.Response(text="leading\n" if self.leading else "standing by\n")


class _Observed(Collector):
    """What the cluster looks like from here, read at the scrape: a standby tells it too."""

    def __init__(self, feed: Feed, state: ObservedState, health: Health) -> None:
        self._feed = feed
        self._state = state
        self._health = health

    def collect(self) -> Iterable[Metric]:
        since = self._feed.behind_since
        for name, help_text, value in (
            ("leading", "1 on the operator that writes.", self._health.leading),
            ("connected", "1 while the API server answers.", self._feed.in_touch),
            ("last_event_timestamp_seconds", "Unix time of any watch's last event.", self._feed.last_event),
            (
                "changed_timestamp_seconds",
                "Unix time of the last observed change that asks for a plan.",
                self._state.changed_at,
            ),
            (
                "watch_behind_seconds",
                "For how long listings have shown what the watches have not brought.",
                time.time() - since if since is not None else 0.0,
            ),
        ):
            yield GaugeMetricFamily(f"tenantry_operator_{name}", help_text, value)
        yield _models(self._state.readiness)
        yield _slots(self._state.world())


def _models(counts: Mapping[tuple[str, str], int]) -> Metric:
    family = GaugeMetricFamily(
        "tenantry_operator_models",
        "TenantModels by the status and reason of their Ready condition.",
        labels=("ready", "reason"),
    )
    for labels, count in counts.items():
        if count:
            family.add_metric(labels, count)
    return family


def _slots(world: World) -> Metric:
    family = GaugeMetricFamily(
        "tenantry_operator_slots",
        "Slots by pool and state: ready, lost (asked for, without a ready pod), or leaving.",
        labels=("pool", "state"),
    )
    counts = {(pool, state): 0 for pool in world.pools for state in ("ready", "lost", "leaving")}
    for slot in world.slots.values():
        state = "leaving" if slot.leaving_since is not None else "ready" if slot.ready else "lost"
        counts[slot.pool, state] = counts.get((slot.pool, state), 0) + 1
    for labels, count in counts.items():
        family.add_metric(labels, count)
    return family


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
