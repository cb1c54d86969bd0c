"""How many slots a model is kept warm on: what its spec asks for, and more while it is hot."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tenantry_core.resources import TenantModelSpec

HOT = 100.0
"""Requests per second below which one slot is plenty, however idle the others are."""
SPREAD = 4.0
"""A model with the share p of the load of N slots gets ceil(SPREAD * p * N): the least loaded of them then
stays near the mean under Zipf's law."""


def wanted_replicas(spec: TenantModelSpec, now: int, share: float | None, slots: int) -> int:
    """Slots for a model that is on `now` of them and has this `share` of its pool's load.

    It grows at once and shrinks only below half, so that it does not swing; while `share` is None (nothing
    is measured) it stays as it is.
    """
    limit = slots if spec.max_replicas is None else max(spec.max_replicas, spec.min_replicas)
    wanted = now
    if share is not None:
        by_load = math.ceil(SPREAD * share * slots)
        wanted = by_load if by_load > now or 2 * by_load < now else now
    return max(min(wanted, limit, slots), min(spec.min_replicas, slots), 1)


def load_shares(load: Mapping[str, float] | None, pools: Mapping[str, str]) -> dict[str, float]:
    """The share of each model in its pool's load, by key; that of a model that is not hot is 0.

    `pools` is the pool of each model. Empty while nothing is measured.
    """
    if load is None:
        return {}
    totals: dict[str, float] = {}
    for model, rate in load.items():
        if model in pools:
            totals[pools[model]] = totals.get(pools[model], 0.0) + rate
    rates = {model: load.get(model, 0.0) for model in pools}
    return {m: rate / totals[pools[m]] if rate >= HOT else 0.0 for m, rate in rates.items()}
