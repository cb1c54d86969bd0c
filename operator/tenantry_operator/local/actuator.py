"""Carries a plan out on this machine: files for slices and statuses, processes for slots."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import msgspec

from tenantry_core.resources import PredictorPool, PredictorPoolStatus, TenantModel, TenantModelStatus
from tenantry_core.slices import Entry, SliceContent
from tenantry_core.snapshot import SnapshotFolder
from tenantry_operator.definitions import definitions
from tenantry_operator.local.directory import StateDirectory
from tenantry_operator.local.events import EventLog
from tenantry_operator.local.slots import SlotSupervisor
from tenantry_operator.local.store import ObjectName, ResourceStore
from tenantry_operator.planning.plan import Event
from tenantry_operator.reconciling.actuator import ActuatorUnavailable


class LocalActuator:
    """An Actuator. There is one writer, so nothing conflicts; a full disk is what can go wrong."""

    def __init__(self, directory: StateDirectory, slots: SlotSupervisor) -> None:
        self._folder = SnapshotFolder(directory.router)
        self._store = ResourceStore(directory)
        self._events = EventLog(directory)
        self._slots = slots

    async def write_slice(self, name: str, entries: Sequence[Entry]) -> None:
        with _disk():
            self._folder.write_slice(name, SliceContent(tuple(entries)))

    async def delete_slice(self, name: str) -> None:
        with _disk():
            self._folder.delete_slice(name)

    async def write_status(self, model: TenantModel, status: TenantModelStatus) -> None:
        metadata = model.metadata
        name = ObjectName(definitions()["TenantModel"], metadata.namespace, metadata.name)
        with _disk():
            self._store.write_status(name, metadata.uid, msgspec.to_builtins(status))

    async def write_pool_status(self, pool: PredictorPool, status: PredictorPoolStatus) -> None:
        name = ObjectName(definitions()["PredictorPool"], "", pool.name)
        with _disk():
            self._store.write_status(name, pool.metadata.uid, msgspec.to_builtins(status))

    async def run_slots(self, pool: PredictorPool, slots: Sequence[str]) -> None:
        try:
            with _disk():
                self._slots.run(pool, slots)
        except ValueError as error:  # a file that somebody wrote past the validation
            raise ActuatorUnavailable(f"PredictorPool {pool.name!r} cannot run: {error}") from error

    async def remove_pool(self, name: str) -> None:
        with _disk():
            self._slots.remove_pool(name)

    async def record(self, event: Event) -> None:
        with _disk():
            self._events.record(event)


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ActuatorUnavailable(f"the state directory does not take writes: {error}") from error
