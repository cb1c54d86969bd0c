"""The pool `default`: as the release's configuration wants it, as far as nobody else has set it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Set
from typing import Any

from tenantry_core.resources import API_VERSION, PredictorPool
from tenantry_operator.kubernetes.api import Api, Refused, Unreachable
from tenantry_operator.kubernetes.release import MANAGED_BY, MANAGER
from tenantry_operator.planning.plan import Event

NAME = "default"

_PATH = f"/apis/{API_VERSION}/predictorpools/{NAME}"
_RETRY_SECONDS = 2.0
_SERVER_ERROR = 500
_BUSY = frozenset({409, 429})

logger = logging.getLogger(__name__)


class PoolRefused(Exception):
    """The API server does not take the pool, and there is none to go on with; the message says why."""


def is_wanted(pools: Mapping[str, PredictorPool]) -> bool:
    """Where there is no pool at all, and where the operator made it. A pool that users made is theirs."""
    if not pools:
        return True
    return NAME in pools and MANAGED_BY.items() <= pools[NAME].metadata.labels.items()


async def apply_default_pool(
    api: Api, spec: Mapping[str, Any], present: PredictorPool | None
) -> Event | None:
    """Tries until it is taken or refused; `present` is the pool that it replaces.

    Gives an Event on the pool where it is not as the spec says: somebody else has set fields, or the spec is
    refused, which must not take away what serves. Raises PoolRefused where nothing serves yet.
    """
    while True:
        try:
            event = await _apply(api, spec)
        except (Refused, Unreachable) as error:
            logger.error("the PredictorPool %s could not be applied: %s", NAME, error)
            if isinstance(error, Refused) and error.status < _SERVER_ERROR and error.status not in _BUSY:
                return _refused(present, error)
        else:
            logger.info("applied the PredictorPool %s", NAME)
            return event
        await asyncio.sleep(_RETRY_SECONDS)


def _refused(present: PredictorPool | None, error: Refused) -> Event:
    if present is None:
        raise PoolRefused(f"no pool can be made of the chart's defaultPool.spec: {error}") from error
    message = f"kept as it is, since the chart's defaultPool.spec is refused: {error}"
    return Event("PredictorPool", NAME, "", present.metadata.uid, "Warning", "SpecRefused", message)


async def _apply(api: Api, spec: Mapping[str, Any]) -> Event | None:
    """Server-side apply refuses to change what somebody else has set: `kubectl scale`, `kubectl edit` and
    autoscalers have the last word. To leave such a field out does not take its value away: that happens
    only to fields that nobody else holds.
    """
    metadata = {"name": NAME, "labels": MANAGED_BY}
    manifest = {"apiVersion": API_VERSION, "kind": "PredictorPool", "metadata": metadata, "spec": spec}
    try:
        await api.apply(_PATH, manifest, MANAGER, force=False)
        return None
    except Refused as error:
        if not error.conflicts:
            raise
        conflicts = error.conflicts
    pool = await api.apply(_PATH, _without(manifest, conflicts.keys()), MANAGER, force=False)
    return _kept(pool["metadata"]["uid"], conflicts)


def _kept(uid: str, holders: Mapping[str, str]) -> Event:
    fields = ", ".join(f"{path.removeprefix('.')} (set by {who})" for path, who in sorted(holders.items()))
    message = f"kept as it was set since, though the chart's defaultPool.spec says otherwise: {fields}"
    return Event("PredictorPool", NAME, "", uid, "Normal", "FieldsKept", message)


def _without(value: Any, paths: Set[str], at: str = "") -> Any:
    """The manifest without the fields at these paths, which are written as the API server does."""
    if isinstance(value, Mapping):
        inner = ((name, member, f"{at}.{name}") for name, member in value.items())
        return {name: _without(member, paths, path) for name, member, path in inner if path not in paths}
    if isinstance(value, list):
        return [_without(item, paths, path) for item, path in _items(value, at) if path not in paths]
    return value


def _items(values: list[Any], at: str) -> Iterator[tuple[Any, str]]:
    """Of a list by name each item with its path; of other lists only the whole can be held by somebody."""
    for item in values:
        name = item.get("name") if isinstance(item, Mapping) else None
        yield item, f'{at}[name="{name}"]' if name is not None else at
