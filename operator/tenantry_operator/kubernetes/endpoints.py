"""EndpointSlices of pools' headless Services -> who is behind each slot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tenantry_core.resources import POOL_LABEL
from tenantry_operator.world import Instance

PORT_NAME = "http"


def instances_by_slot(slices: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[Instance]]:
    """Instances by (pool, slot). A slot that surges has two; a pod is counted once, though in two slices."""
    slots: dict[tuple[str, str], dict[str, Instance]] = {}
    for manifest in slices:
        pool = manifest["metadata"].get("labels", {}).get(POOL_LABEL, "")
        port = _port(manifest)
        if not pool or port is None:
            continue
        for endpoint in manifest.get("endpoints") or ():
            slot = endpoint.get("hostname")
            if slot:
                instance = _instance(endpoint, port)
                slots.setdefault((pool, slot), {})[instance.id] = instance
    return {key: list(instances.values()) for key, instances in slots.items()}


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
