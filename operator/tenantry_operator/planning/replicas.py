"""How many slots a model is kept warm on: what its spec asks for, and more while it is hot."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tenantry_core.resources import TenantModelSpec

HOT = 100.0
"""Requests per second that one slot answers with ease, however idle the others are."""
SPREAD = 4.0
"""A model with the share p of the load of N slots gets ceil(SPREAD * p * N): the least loaded of them then
stays near the mean under Zipf's law."""


def wanted_replicas(spec: TenantModelSpec, now: int, by_load: int | None, slots: int) -> int:
    """Slots for a model that is on `now` of them, and whose load asks for `by_load`.

    It grows at once and shrinks only below half, so that it does not swing; while `by_load` is None (nothing
    is measured) it stays as it is.
    """
    limit = slots if spec.max_replicas is None else max(spec.max_replicas, spec.min_replicas)
    wanted = now
    if by_load is not None:
        wanted = by_load if by_load > now or 2 * by_load < now else now
    return max(min(wanted, limit, slots), min(spec.min_replicas, slots), 1)


def replicas_by_load(rate: float, total: float, slots: int) -> int:
    """Slots for a model with so many requests per second out of the `total` of a pool of so many slots.

    No more than one for each HOT of them: what is hot a little more or less gets about the same, so that
    noise around a threshold does not make it swing. None below half of HOT: what its spec asks for is enough
    then, although it was hot before.
    """
    if rate < HOT / 2:
        return 0
    return min(math.ceil(SPREAD * rate / total * slots), math.ceil(rate / HOT))


def total_loads(load: Mapping[str, float] | None, pools: Mapping[str, str]) -> dict[str, float]:
    """Requests per second of each pool; `pools` is the pool of each model. Empty while none is measured."""
    totals: dict[str, float] = {}
    for model, rate in (load or {}).items():
        if model in pools:
            totals[pools[model]] = totals.get(pools[model], 0.0) + rate
    return totals
