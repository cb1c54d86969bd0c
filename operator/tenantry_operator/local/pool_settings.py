"""A pool's spec as the flags of the predictor's command."""

from __future__ import annotations

from tenantry_core.quantities import parse_quantity
from tenantry_core.resources import PredictorPool


def predictor_settings(pool: PredictorPool) -> tuple[str, ...]:
    """What all slots of a pool have in common. Raises ValueError for a cache size that is no quantity."""
    spec = pool.spec
    flags: list[str] = []
    if spec.cache.memory:
        flags += ["--cache-memory", str(parse_quantity(spec.cache.memory))]
    if spec.cache.disk:
        flags += ["--cache-disk", str(parse_quantity(spec.cache.disk))]
    if spec.cache.eviction != "LFU":
        flags += ["--eviction", spec.cache.eviction]
    for prefix in spec.storage.prefixes:
        flags += ["--prefix", prefix]
    for name in spec.trust.formats:
        flags += ["--trust-format", name]
    if spec.storage.s3.endpoint:
        flags += ["--s3-endpoint", spec.storage.s3.endpoint]
    if spec.storage.s3.region:
        flags += ["--s3-region", spec.storage.s3.region]
    return tuple(flags)
