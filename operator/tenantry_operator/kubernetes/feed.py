"""Watches that fill the observed state: of what people configure by kopf, of what there is in bulk directly.

Only events: no finalizers, no annotations, no timers.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import kopf
import msgspec

from tenantry_core.api_watch import ApiWatch, Collection
from tenantry_core.resources import GROUP, POOL_LABEL, VERSION, PredictorPool, from_manifest
from tenantry_operator.kubernetes.api import METADATA_ONLY, Api, Refused, Unreachable
from tenantry_operator.kubernetes.bulk import ModelSink, SliceSink
from tenantry_operator.kubernetes.deployments import Deployments
from tenantry_operator.kubernetes.endpoints import Endpoints
from tenantry_operator.kubernetes.login import login
from tenantry_operator.kubernetes.watched import Key, Watched
from tenantry_operator.reconciling.state import ObservedState

CATCH_UP_INTERVAL = 0.2
TOUCH_INTERVAL = 5.0
"""Seconds between looks whether the API server answers."""
COMPARE_INTERVAL = 300.0
"""Seconds between listings that look for what kopf's watches may have missed."""
MODELS_A_PAGE = 500

logger = logging.getLogger(__name__)


class _Patience:
    """Delays between attempts, without an end: kopf gives up for good after the last one."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.2, 0.5, 1.0), itertools.repeat(2.0))


class Feed:
    """Mirrors the API server into the state, and tells the state when it has seen all of it."""

    def __init__(self, state: ObservedState, deployments: Deployments, api: Api, namespace: str) -> None:
        self._state = state
        self._api = api
        self._endpoints = Endpoints()
        self._slots: set[str] = set()
        self.last_event = time.time()
        """Unix time in seconds of the last event of any watch."""
        self._listed = [asyncio.Event(), asyncio.Event()]
        self.behind_since: float | None = None
        """Unix time since when listings show what the watches have not brought; None while they agree."""
        self.in_touch = True
        """The API server answers."""
        own, release = f"/apis/{GROUP}/{VERSION}", f"namespaces/{namespace}"
        self.models = ModelSink(state, self._note_event)
        self.slices = SliceSink(state, self._note_event)
        self._bulk: list[tuple[Collection, ModelSink | SliceSink]] = [
            (Collection(f"{own}/tenantmodels", page=MODELS_A_PAGE), self.models),
            (Collection(f"{own}/{release}/placementslices"), self.slices),
        ]
        self.pools = Watched(f"{own}/predictorpools", self._put_pool, lambda key: state.drop_pool(key[1]))
        self.endpoints = Watched(
            f"/apis/discovery.k8s.io/v1/{release}/endpointslices",
            self._put_endpoints,
            self._drop_endpoints,
            POOL_LABEL,
        )
        self.deployments = Watched(
            f"/apis/apps/v1/{release}/deployments", deployments.put, deployments.drop, POOL_LABEL
        )
        self.namespaces = Watched(
            "/api/v1/namespaces", self._put_namespace, lambda key: state.drop_namespace(key[1])
        )
        self._namespace = namespace
        self._kinds = [self.pools, self.endpoints, self.deployments, self.namespaces]

    async def follow(self) -> None:
        """Follows what there is in bulk, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for (collection, sink), listed in zip(self._bulk, self._listed, strict=True):
                watch: ApiWatch[Any] = ApiWatch(self._api.client, collection, sink, _setter(listed))
                group.create_task(watch.run())

    async def watch(self, started: asyncio.Event) -> None:
        """Runs kopf until cancelled. Sets `started` once it has taken the process's signals.

        Twice, for the whole cluster and for the release's namespace: the operator then needs no right to read
        the Deployments of others, whose environment may hold what is not for it.
        """
        flags = asyncio.Event(), asyncio.Event()
        watches = [
            asyncio.ensure_future(self._run_kopf(self._cluster_registry(), flags[0], clusterwide=True)),
            asyncio.ensure_future(
                self._run_kopf(self._release_registry(), flags[1], namespaces=[self._namespace])
            ),
        ]
        starting = asyncio.ensure_future(_set_after(flags, started))
        try:
            done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
            for watch in done:
                watch.result()
        finally:
            for task in (*watches, starting):
                task.cancel()
            await asyncio.gather(*watches, starting, return_exceptions=True)

    async def compare(self) -> None:
        """Lists beside the watches, to know when they have caught up and what they have missed.

        At first, from time to time, and after each time out of touch: a watch that has to start afresh
        does not tell what was deleted meanwhile. Runs until cancelled.
        """
        due = 0.0
        while True:
            try:
                if time.monotonic() >= due:
                    agreed = all([await self._compare(kind) for kind in self._kinds])
                    due = time.monotonic() + self._judge(agreed)
                else:
                    await self._api.send("GET", "/version")
                self._set_touch("")
            except (Unreachable, Refused) as error:
                due = 0.0
                self.behind_since = None  # nothing tells now
                self._set_touch(str(error))
            await asyncio.sleep(min(TOUCH_INTERVAL, max(CATCH_UP_INTERVAL, due - time.monotonic())))

    def _judge(self, agreed: bool) -> float:
        """What a comparison means, and after how many seconds the next is due."""
        if not agreed:
            self.behind_since = self.behind_since or time.time()
            return CATCH_UP_INTERVAL
        self.behind_since = None
        if self._state.complete.is_set():
            return COMPARE_INTERVAL
        if all(listed.is_set() for listed in self._listed):
            self._state.set_complete()
            return COMPARE_INTERVAL
        return CATCH_UP_INTERVAL

    def _set_touch(self, problem: str) -> None:
        """Says once that the API server is out of touch, and once that it is back."""
        if problem and self.in_touch:
            logger.warning("the API server is out of touch: %s", problem)
        elif not problem and not self.in_touch:
            logger.info("the API server is back in touch")
        self.in_touch = not problem

    async def _compare(self, kind: Watched) -> bool:
        params = {"labelSelector": kind.label_selector} if kind.label_selector else {}
        content = await self._api.send("GET", kind.collection, params=params, accept=METADATA_ONLY)
        listing = msgspec.json.decode(content, type=_Listing)
        listed = {(i.metadata.namespace, i.metadata.name): i.metadata.version for i in listing.items or ()}
        return kind.compare(listed, listing.metadata.version)

    # kopf

    async def _run_kopf(self, registry: kopf.OperatorRegistry, ready: asyncio.Event, **where: Any) -> None:
        await kopf.operator(
            registry=registry,
            settings=self._settings(),
            # kopf's own guess looks up the user's name, which a container's user need not have.
            identity=cast(Any, socket.gethostname()),
            standalone=True,
            ready_flag=ready,
            **where,
        )

    def _cluster_registry(self) -> kopf.OperatorRegistry:
        return self._registry(
            (GROUP, VERSION, "predictorpools", self.pools),
            ("", "v1", "namespaces", self.namespaces),
        )

    def _release_registry(self) -> kopf.OperatorRegistry:
        return self._registry(
            ("discovery.k8s.io", "v1", "endpointslices", self.endpoints),
            ("apps", "v1", "deployments", self.deployments),
        )

    def _registry(self, *kinds: tuple[str, str, str, Watched]) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(login)
        for group, version, plural, kind in kinds:
            kopf.on.event(group, version, plural, registry=registry, id=plural)(self._handler(kind))
        return registry

    def _handler(self, kind: Watched) -> Callable[..., Any]:
        async def handle(event: kopf.RawEvent, **_: object) -> None:
            self._note_event()
            kind.observe(dict(event["object"]), deleted=event["type"] == "DELETED")

        return handle

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.networking.request_timeout = 30
        settings.networking.connect_timeout = 5
        settings.networking.error_backoffs = _Patience()
        settings.watching.connect_timeout = 5
        settings.watching.reconnect_backoff = 0.5
        # The label for children: the server filters, not this process.
        for plural in ("endpointslices", "deployments"):
            settings.watching.label_selectors[plural] = POOL_LABEL
        # Workers linger for this long after an object's last event; a burst makes one for each object.
        settings.queueing.idle_timeout = 1.0
        return settings

    # Manifests -> state

    def _note_event(self) -> None:
        self.last_event = time.time()

    def _put_pool(self, manifest: dict[str, Any]) -> None:
        try:
            self._state.put_pool(from_manifest(manifest, PredictorPool))
        except msgspec.ValidationError as error:  # stored under an older schema, or under none
            logger.warning("PredictorPool %s is ignored: %s", manifest["metadata"].get("name"), error)

    def _put_endpoints(self, manifest: dict[str, Any]) -> None:
        self._endpoints.put(manifest)
        self._update_slots()

    def _drop_endpoints(self, key: Key) -> None:
        self._endpoints.drop(key)
        self._update_slots()

    def _update_slots(self) -> None:
        found = self._endpoints.instances()
        for (pool, slot), instances in found.items():
            self._state.put_slot(slot, pool, instances)
        slots = {slot for _, slot in found}
        for slot in self._slots - slots:
            self._state.drop_slot(slot)
        self._slots = slots

    def _put_namespace(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        self._state.put_namespace_labels(metadata["name"], metadata.get("labels") or {})


async def _set_after(flags: Iterable[asyncio.Event], event: asyncio.Event) -> None:
    for flag in flags:
        await flag.wait()
    event.set()


class _ListMetadata(msgspec.Struct):
    resourceVersion: str = "0"  # noqa: N815

    @property
    def version(self) -> int:
        return int(self.resourceVersion)


class _ItemMetadata(_ListMetadata):
    name: str = ""
    namespace: str = ""


class _Item(msgspec.Struct):
    metadata: _ItemMetadata


class _Listing(msgspec.Struct):
    metadata: _ListMetadata
    items: list[_Item] | None


def _setter(listed: asyncio.Event) -> Callable[[bool], None]:
    return lambda standing: listed.set() if standing else None
