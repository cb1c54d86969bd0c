"""EndpointSlices of pools' headless Services -> who is behind each slot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenantry_core.resources import POOL_LABEL
from tenantry_operator.kubernetes.watched import Key
from tenantry_operator.planning.world import Instance

PORT_NAME = "http"


class Endpoints:
    """Every EndpointSlice as it is now, and how often each pod has stopped being ready.

    A container that is restarted keeps its pod, uid and address and loses its memory. What can be seen of
    that is that the pod was ready, and then was not: from then on it is another instance.
    """

    def __init__(self) -> None:
        self._slices: dict[Key, dict[str, Any]] = {}
        self._ready: dict[str, bool] = {}
        self._lapses: dict[str, int] = {}

    def put(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        self._slices[metadata.get("namespace", ""), metadata["name"]] = manifest
        self._count_lapses()

    def drop(self, key: Key) -> None:
        self._slices.pop(key, None)
        self._count_lapses()

    def instances(self) -> dict[tuple[str, str], list[Instance]]:
        """By (pool, slot). A slot that surges has two; a pod in two slices is counted once."""
        slots: dict[tuple[str, str], dict[str, Instance]] = {}
        for pool, slot, instance in self._all():
            lapses = self._lapses.get(instance.id, 0)
            known = f"{instance.id}/{lapses}" if lapses else instance.id
            slots.setdefault((pool, slot), {})[known] = Instance(
                known, instance.host, instance.port, instance.ready, instance.terminating
            )
        return {key: list(instances.values()) for key, instances in slots.items()}

    def _count_lapses(self) -> None:
        ready = {instance.id: instance.ready for _, _, instance in self._all()}
        for pod, is_ready in ready.items():
            if self._ready.get(pod) and not is_ready:
                self._lapses[pod] = self._lapses.get(pod, 0) + 1
        self._lapses = {pod: count for pod, count in self._lapses.items() if pod in ready}
        self._ready = ready

    def _all(self) -> Iterator[tuple[str, str, Instance]]:
        for manifest in self._slices.values():
            pool = manifest["metadata"].get("labels", {}).get(POOL_LABEL, "")
            port = _port(manifest)
            if not pool or port is None:
                continue
            for endpoint in manifest.get("endpoints") or ():
                if endpoint.get("hostname"):
                    yield pool, endpoint["hostname"], _instance(endpoint, port)


def _port(manifest: dict[str, Any]) -> int | None:
    return next((p["port"] for p in manifest.get("ports") or () if p.get("name") == PORT_NAME), None)


def _instance(endpoint: dict[str, Any], port: int) -> Instance:
    host = endpoint["addresses"][0]
    conditions = endpoint.get("conditions") or {}
    return Instance(
        id=(endpoint.get("targetRef") or {}).get("uid") or f"{host}:{port}",
        host=host,
        port=port,
        ready=conditions.get("ready") is not False,
        terminating=bool(conditions.get("terminating")),
    )
