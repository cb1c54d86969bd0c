"""What the kubelet and Prometheus ask: is it alive, does it follow the cluster, does it lead."""

from __future__ import annotations

import time
from collections.abc import Iterable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tenantry_operator.kubernetes.feed import Feed
from tenantry_operator.reconciling.state import ObservedState

STALLED_AFTER = 120.0
"""Seconds for which watches may miss what listings show, before a restart is better."""


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
        REGISTRY.register(_FeedMetrics(self._feed, self))
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


class _FeedMetrics(Collector):
    def __init__(self, feed: Feed, health: Health) -> None:
        self._feed = feed
        self._health = health

    def collect(self) -> Iterable[Metric]:
        since = self._feed.behind_since
        yield GaugeMetricFamily(
            "tenantry_operator_last_event_timestamp_seconds",
            "Unix time of the last event of any watch.",
            self._feed.last_event,
        )
        yield GaugeMetricFamily(
            "tenantry_operator_watch_behind_seconds",
            "For how long listings have shown what the watches have not brought.",
            time.time() - since if since is not None else 0.0,
        )
        yield GaugeMetricFamily(
            "tenantry_operator_leading", "1 on the operator that writes.", float(self._health.leading)
        )


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
