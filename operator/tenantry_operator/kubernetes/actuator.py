"""Carries a plan out on the API server."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from tenantry_core.resources import (
    API_VERSION,
    Metadata,
    PredictorPool,
    PredictorPoolStatus,
    TenantModel,
    TenantModelStatus,
)
from tenantry_core.slices import Entry, SliceContent, Wire
from tenantry_operator.kubernetes import pool_children
from tenantry_operator.kubernetes.api import Api, Refused, Unreachable
from tenantry_operator.kubernetes.deployments import Deployments, due, surplus
from tenantry_operator.kubernetes.release import MANAGER, Manifest, Release, child_name
from tenantry_operator.kubernetes.watched import Key
from tenantry_operator.planning.plan import Event
from tenantry_operator.reconciling.actuator import ActuatorUnavailable, WriteConflict

_NOTE_LIMIT = 1024
_REMEMBERED_WRITES = 10_000
_COALESCE = 0.1
_RETRY = 2.0
_CONFLICTS = frozenset({404, 409, 412})
_RESOURCES = {
    "Service": "/api/v1/namespaces/{namespace}/services",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
}

logger = logging.getLogger(__name__)


class KubernetesActuator:
    """Implements Actuator. `seen_slices` are the resource versions of PlacementSlices that the watch saw."""

    def __init__(
        self, api: Api, release: Release, deployments: Deployments, seen_slices: Mapping[Key, int]
    ) -> None:
        self._api = api
        self._release = release
        self._deployments = deployments
        self._seen_slices = seen_slices
        self._written_slices: dict[str, int] = {}
        self._written_statuses: dict[str, int] = {}
        """By uid, until the watch has long shown them."""
        self._applied: dict[str, list[Manifest]] = {}
        self._running: dict[str, tuple[PredictorPool, tuple[str, ...]]] = {}
        self._children_lock = asyncio.Lock()

    # Slices: each write names the version that it replaces, so that a former leader cannot undo it.

    async def write_slice(self, name: str, entries: Sequence[Entry]) -> None:
        content = msgspec.to_builtins(SliceContent(tuple(entries)))
        metadata: dict[str, Any] = {"name": name, "namespace": self._release.namespace}
        manifest = {
            "apiVersion": API_VERSION,
            "kind": "PlacementSlice",
            "metadata": metadata,
            "models": len(entries),
            **content,
        }
        version = self._slice_version(name)
        async with self._slice_write(name):
            if version is None:
                written = await self._api.create(self._slices_path(), manifest)
            else:
                metadata["resourceVersion"] = str(version)
                written = await self._api.replace(self._slices_path(name), manifest)
            self._written_slices[name] = written

    async def delete_slice(self, name: str) -> None:
        version = self._slice_version(name)
        if version is None:
            return
        async with self._slice_write(name):
            options = {"preconditions": {"resourceVersion": str(version)}}
            await self._api.delete(self._slices_path(name), options)
            self._written_slices.pop(name, None)

    # Statuses

    async def write_status(self, model: TenantModel, status: TenantModelStatus) -> None:
        namespace, name = model.metadata.namespace, model.metadata.name
        path = f"/apis/{API_VERSION}/namespaces/{namespace}/tenantmodels/{name}/status"
        await self._write_status(path, model.metadata, status)

    async def write_pool_status(self, pool: PredictorPool, status: PredictorPoolStatus) -> None:
        path = f"/apis/{API_VERSION}/predictorpools/{pool.name}/status"
        await self._write_status(path, pool.metadata, status)

    # Children

    async def run_slots(self, pool: PredictorPool, slots: Sequence[str]) -> None:
        """Returns with the first steps taken; `follow_deployments` takes those that have to wait."""
        self._running[pool.name] = pool, tuple(slots)
        await self._bring_in_line(pool, slots)

    async def remove_pool(self, name: str) -> None:
        """Its children name it as their owner, so they go with it."""
        self._running.pop(name, None)
        self._applied.pop(name, None)

    async def follow_deployments(self) -> None:
        """Goes on with rolls as slots settle, and puts back what somebody took away. Runs until cancelled."""
        while True:
            await self._deployments.changed.wait()
            self._deployments.changed.clear()
            await asyncio.sleep(_COALESCE)
            for pool, slots in list(self._running.values()):
                try:
                    await self._bring_in_line(pool, slots)
                except (WriteConflict, ActuatorUnavailable) as error:
                    logger.warning("slots of the pool %s could not be brought in line: %s", pool.name, error)
                    await asyncio.sleep(_RETRY)
                    self._deployments.changed.set()

    async def _bring_in_line(self, pool: PredictorPool, slots: Sequence[str]) -> None:
        async with self._children_lock, _translated():
            await self._apply_shared(pool)
            wanted = {slot: pool_children.slot_deployment(pool, slot, self._release) for slot in slots}
            present = self._deployments.of_pool(pool.name)
            digests = {slot: pool_children.digest(manifest) for slot, manifest in wanted.items()}
            for slot in due(digests, present):
                self._deployments.put(await self._apply(wanted[slot]))
            for slot in surplus(wanted, present):
                await self._delete_deployment(slot)

    # Events

    async def record(self, event: Event) -> None:
        # Events on what is in no namespace lie in `default`, where kubectl looks for them.
        namespace = event.namespace or "default"
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        manifest = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{event.name}.{secrets.token_hex(8)}", "namespace": namespace},
            "eventTime": now,
            "type": event.type,
            "reason": event.reason,
            "note": event.message[:_NOTE_LIMIT],
            "action": event.reason,
            "reportingController": f"tenantry.dev/{MANAGER}",
            "reportingInstance": os.environ.get("HOSTNAME", MANAGER),
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": event.kind,
                "name": event.name,
                "namespace": event.namespace,
                "uid": event.uid,
            },
        }
        async with _translated():
            await self._api.create(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", manifest)

    def _slices_path(self, name: str = "") -> str:
        path = f"/apis/{API_VERSION}/namespaces/{self._release.namespace}/placementslices"
        return f"{path}/{name}" if name else path

    def _slice_version(self, name: str) -> int | None:
        """The newest version known: of the watch, or of an own write that the watch has not shown yet."""
        seen = self._seen_slices.get((self._release.namespace, name), 0)
        return max(seen, self._written_slices.get(name, 0)) or None

    @asynccontextmanager
    async def _slice_write(self, name: str) -> AsyncIterator[None]:
        """After a conflict only what the watch shows counts."""
        try:
            async with _translated():
                yield
        except WriteConflict:
            self._written_slices.pop(name, None)
            raise

    async def _write_status(self, path: str, metadata: Metadata, status: Wire) -> None:
        """Only over the version that was judged: a status never lands on another spec or a successor."""
        uid = metadata.uid
        version = max(int(metadata.resource_version), self._written_statuses.pop(uid, 0))
        patch = {"metadata": {"resourceVersion": str(version)}, "status": _complete(status)}
        async with _translated():
            written = await self._api.merge(path, patch)
        self._written_statuses[uid] = int(written["metadata"]["resourceVersion"])
        if len(self._written_statuses) > _REMEMBERED_WRITES:
            del self._written_statuses[next(iter(self._written_statuses))]

    async def _apply_shared(self, pool: PredictorPool) -> None:
        manifests = pool_children.shared_children(pool, self._release)
        if self._applied.get(pool.name) != manifests:
            for manifest in manifests:
                await self._apply(manifest)
            self._applied[pool.name] = manifests

    async def _apply(self, manifest: Manifest) -> Manifest:
        path = _RESOURCES[manifest["kind"]].format(namespace=self._release.namespace)
        applied: Manifest = await self._api.apply(f"{path}/{manifest['metadata']['name']}", manifest, MANAGER)
        return applied

    async def _delete_deployment(self, slot: str) -> None:
        path = _RESOURCES["Deployment"].format(namespace=self._release.namespace)
        name = child_name(slot)
        try:
            await self._api.delete(f"{path}/{name}", {"propagationPolicy": "Background"})
        except Refused as error:
            if error.status != 404:  # gone already, and the watch has not said so yet
                raise
        self._deployments.drop((self._release.namespace, name))


def _complete(value: Wire) -> dict[str, Any]:
    """For a merge patch: what has no value is null, or the old value would stay."""
    content = msgspec.to_builtins(value)
    for name, encoded in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
        member = getattr(value, name)
        if isinstance(member, Wire):
            content[encoded] = _complete(member)
        else:
            content.setdefault(encoded, None)
    return dict(content)


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except Refused as error:
        if error.status in _CONFLICTS:
            raise WriteConflict(str(error)) from error
        raise ActuatorUnavailable(f"the API server refused a write: {error}") from error
    except Unreachable as error:
        raise ActuatorUnavailable(f"the API server does not answer: {error}") from error
