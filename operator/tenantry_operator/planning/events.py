"""Events: changes of a model that its owner would ask about, told once each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tenantry_core.resources import TenantModel, TenantModelStatus
from tenantry_operator.planning.plan import Event


def model_events(model: TenantModel, status: TenantModelStatus) -> Iterator[Event]:
    """What is new in a status: a version that serves, a reason why the wanted one does not."""
    before, now = model.status, status
    if now.active is not None and now.active != before.active:
        changed = before.active is None or now.active.sha256 != before.active.sha256
        if changed or before.active is None or now.active.uri != before.active.uri:
            yield _event(
                model, "Normal", "Serving", f"version {now.active.version} serves now: {now.active.uri}"
            )
    ready, told = now.condition("Ready"), before.condition("Ready")
    if ready is None or ready.status != "False":
        return
    if told is None or (told.status, told.reason, told.observed_generation) != (
        ready.status,
        ready.reason,
        ready.observed_generation,
    ):
        yield _event(model, "Warning", ready.reason, ready.message)


def _event(model: TenantModel, kind: Literal["Normal", "Warning"], reason: str, message: str) -> Event:
    metadata = model.metadata
    return Event("TenantModel", metadata.name, metadata.namespace, metadata.uid, kind, reason, message)
