"""The one seam between the reconciler and where it runs: Kubernetes, or a directory on a laptop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tenantry_core.resources import PredictorPool, PredictorPoolStatus, TenantModel, TenantModelStatus
from tenantry_core.slices import Entry
from tenantry_operator.planning.plan import Event


class WriteConflict(Exception):
    """Somebody else wrote the object meanwhile: observe again, then plan again."""


class ActuatorUnavailable(Exception):
    """The API server (or the disk) does not take writes now; the reconciler tries again later."""


class Actuator(Protocol):
    """Carries a plan out. Each call raises WriteConflict or ActuatorUnavailable, and nothing else."""

    async def write_slice(self, name: str, entries: Sequence[Entry]) -> None: ...

    async def delete_slice(self, name: str) -> None: ...

    async def write_status(self, model: TenantModel, status: TenantModelStatus) -> None: ...

    async def write_pool_status(self, pool: PredictorPool, status: PredictorPoolStatus) -> None: ...

    async def run_slots(self, pool: PredictorPool, slots: Sequence[str]) -> None:
        """Make exactly these slots run for the pool, with its present template."""
        ...

    async def remove_pool(self, name: str) -> None:
        """Take away what runs for a pool that is gone (Kubernetes does it by owner references)."""
        ...

    async def record(self, event: Event) -> None: ...
