"""The slots' Deployments as they are in the cluster, and which of them to write next."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tenantry_core.resources import GROUP, POOL_LABEL, SLOT_LABEL
from tenantry_operator.kubernetes.watched import Key

DIGEST_ANNOTATION = f"{GROUP}/manifest"
"""Digest of what was applied: another digest means that the template has changed since."""


@dataclass(frozen=True, slots=True)
class Deployment:
    slot: str
    pool: str
    digest: str
    settled: bool
    """Whether its pod is of the present template and ready, and no other is left."""


class Deployments:
    """Filled by the watch, read by the actuator; each change sets `changed`."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._by_key: dict[Key, Deployment] = {}

    def put(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        self._by_key[metadata["namespace"], metadata["name"]] = _deployment(manifest)
        self.changed.set()

    def drop(self, key: Key) -> None:
        if self._by_key.pop(key, None) is not None:
            self.changed.set()

    def of_pool(self, pool: str) -> dict[str, Deployment]:
        """By slot."""
        return {d.slot: d for d in self._by_key.values() if d.pool == pool}


def due(wanted: Mapping[str, str], present: Mapping[str, Deployment]) -> list[str]:
    """The slots whose Deployment to apply now, of digests wanted by slot.

    Missing ones all at once. Changed ones a few at a time (one, or a tenth of the pool), those without a
    ready pod first, since they have nothing to lose; the next when these have settled.
    """
    missing = [slot for slot in wanted if slot not in present]
    changed = [slot for slot in wanted if slot in present and present[slot].digest != wanted[slot]]
    moving = [
        slot
        for slot in wanted
        if slot in present and present[slot].digest == wanted[slot] and not present[slot].settled
    ]
    room = max(0, max(1, len(wanted) // 10) - len(moving) - len(missing))
    changed.sort(key=lambda slot: present[slot].settled)
    return missing + changed[:room]


def surplus(wanted: Collection[str], present: Collection[str]) -> list[str]:
    """The slots whose Deployment is no longer wanted."""
    return [slot for slot in present if slot not in wanted]


def _deployment(manifest: dict[str, Any]) -> Deployment:
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    labels = metadata.get("labels") or {}
    return Deployment(
        slot=labels.get(SLOT_LABEL, ""),
        pool=labels.get(POOL_LABEL, ""),
        digest=(metadata.get("annotations") or {}).get(DIGEST_ANNOTATION, ""),
        settled=status.get("observedGeneration", 0) >= metadata.get("generation", 1)
        and status.get("replicas", 0) == status.get("updatedReplicas", 0) == 1
        and status.get("readyReplicas", 0) == 1,
    )
