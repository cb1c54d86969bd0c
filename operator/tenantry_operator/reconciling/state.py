"""What is observed: a source (watches, or the state directory) fills it, the reconciler reads it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import msgspec

from tenantry_core.resources import PredictorPool, PredictorPoolStatus, TenantModel, TenantModelStatus
from tenantry_core.slices import Entry
from tenantry_operator.planning.shards import Shards
from tenantry_operator.planning.world import Check, CheckResult, Instance, Slot, World
from tenantry_operator.reconciling.echoes import Echoes
from tenantry_operator.reconciling.measurements import NOTHING_MEASURED, Measurements

Entries = tuple[Entry, ...]


class ObservedState:
    """Levels, not events: put what is there now, drop what is gone, in any order and as often as you like.

    Every change sets `dirty`. Nothing is planned before `set_complete()`: a source calls it once it has put
    all that was there when it began (models, pools, slots, slices and namespaces).
    All calls belong to the event loop's thread.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, router_url: str = "") -> None:
        self.dirty = asyncio.Event()
        self.complete = asyncio.Event()
        self.doubtful = asyncio.Event()
        """Set when a slot is no longer shown as ready: it is worth asking the slot itself."""
        self.changed_at = clock()
        """Unix time in seconds of the last observation."""
        self.readiness: Counter[tuple[str, str]] = Counter()
        """How many models have which status and reason of the Ready condition."""
        self._clock = clock
        self._router_url = router_url
        self._models: Shards[TenantModel] = Shards()
        self._pools: dict[str, PredictorPool] = {}
        self._slots: dict[str, Slot] = {}
        self._shown: dict[str, tuple[Instance, ...]] = {}
        self._own_word: dict[str, str] = {}
        self._missing_since: dict[str, float] = {}
        self._leaving_since: dict[str, float] = {}
        self._highest_revision = 0
        self._slices: dict[str, Entries] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        self._own_slices: Echoes[Entries | None] = Echoes()
        self._own_statuses: Echoes[TenantModelStatus] = Echoes()
        self._own_pool_statuses: Echoes[PredictorPoolStatus] = Echoes()

    def set_complete(self) -> None:
        """All that was there at the beginning has been put."""
        self.complete.set()
        self.touch()

    def touch(self) -> None:
        """Ask for a plan."""
        self.changed_at = self._clock()
        self.dirty.set()

    # What a source reports.

    def put_model(self, model: TenantModel) -> None:
        known = self._models.get(model.key)
        if known is not None and known.metadata.uid != model.metadata.uid:
            self._own_statuses.forget(model.key)
        status = self._own_statuses.observed(model.key, model.status)
        if status is not model.status:
            model = msgspec.structs.replace(model, status=status)
        if model != known:
            self._set_model(model.key, model)
            if known is None or not _differ_in_version_only(known, model):
                self.touch()

    def drop_model(self, key: str) -> None:
        self._own_statuses.forget(key)
        if key in self._models:
            self._set_model(key, None)
            self.touch()

    def put_pool(self, pool: PredictorPool) -> None:
        status = self._own_pool_statuses.observed(pool.name, pool.status)
        if status is not pool.status:
            pool = msgspec.structs.replace(pool, status=status)
        if pool != self._pools.get(pool.name):
            self._pools[pool.name] = pool
            self.touch()

    def drop_pool(self, name: str) -> None:
        self._own_pool_statuses.forget(name)
        if self._pools.pop(name, None) is not None:
            self.touch()

    def put_slot(self, name: str, pool: str, instances: Iterable[Instance]) -> None:
        """A slot that runs, with every pod or process behind it. Since when it is lost is worked out here."""
        before = self._shown.get(name, ())
        self._shown[name] = tuple(sorted(instances, key=lambda i: i.id))
        if any(i.ready for i in before) and not any(i.ready for i in self._shown[name]):
            self.doubtful.set()
        self._set_slot(name, pool)

    def drop_slot(self, name: str) -> None:
        """Nothing runs for the slot any more."""
        self._own_word.pop(name, None)
        slot = self._slots.pop(name, None)
        if slot is not None:
            del self._shown[name]
            self._missing_since[name] = self._clock() if slot.lost_since is None else slot.lost_since
            self.touch()

    def put_own_word(self, name: str, instance: str) -> None:
        """Which instance of a slot answered that it is ready, by its id; empty: none did.

        It counts although the source shows it as not ready: as Kubernetes does with pods whose kubelet is
        silent for 40 seconds. An instance whose memory may be gone has another id.
        """
        slot = self._slots.get(name)
        if slot is not None and self._own_word.get(name, "") != instance:
            self._own_word[name] = instance
            self._set_slot(name, slot.pool)

    def put_slice(self, name: str, entries: Iterable[Entry]) -> None:
        self._set_slice(name, self._own_slices.observed(name, tuple(entries)))

    def drop_slice(self, name: str) -> None:
        self._set_slice(name, self._own_slices.observed(name, None))

    def put_namespace_labels(self, namespace: str, labels: Mapping[str, str]) -> None:
        if labels != self._labels.get(namespace):
            self._labels[namespace] = dict(labels)
            self.touch()

    def drop_namespace(self, namespace: str) -> None:
        if self._labels.pop(namespace, None) is not None:
            self.touch()

    # What the reconciler wrote: it counts before the source shows it.

    def wrote_slice(self, name: str, entries: Entries | None) -> None:
        """None: deleted."""
        self._own_slices.wrote(name, entries)
        self._set_slice(name, entries)

    def wrote_status(self, model: TenantModel, status: TenantModelStatus) -> None:
        known = self._models.get(model.key)
        if known is not None and known.metadata.uid == model.metadata.uid:
            self._own_statuses.wrote(model.key, status)
            self._set_model(model.key, msgspec.structs.replace(known, status=status))

    def wrote_pool_status(self, pool: PredictorPool, status: PredictorPoolStatus) -> None:
        known = self._pools.get(pool.name)
        if known is not None and known.metadata.uid == pool.metadata.uid:
            self._own_pool_statuses.wrote(pool.name, status)
            self._pools[pool.name] = msgspec.structs.replace(known, status=status)

    def forget_slice_writes(self, name: str) -> None:
        """Somebody else wrote it: what the source shows next counts, whatever was written here."""
        self._own_slices.forget(name)

    def forget_status_writes(self, key: str) -> None:
        self._own_statuses.forget(key)

    def forget_pool_status_writes(self, name: str) -> None:
        self._own_pool_statuses.forget(name)

    # What the reconciler reads.

    def status_of(self, model: TenantModel) -> TenantModelStatus | None:
        """The status as it is by now; None when this very object is gone."""
        known = self._models.get(model.key)
        return known.status if known is not None and known.metadata.uid == model.metadata.uid else None

    def world(
        self,
        *,
        results: Mapping[str, tuple[CheckResult, ...]] | None = None,
        pending: frozenset[Check] = frozenset(),
        silent: Mapping[str, float] | None = None,
        measured: Measurements = NOTHING_MEASURED,
        placement: Mapping[str, tuple[str, ...]] | None = None,
    ) -> World:
        """A consistent copy of everything, with the reconciler's own part added."""
        return World(
            now=self._clock(),
            models=self._models.copy(),
            pools=dict(self._pools),
            slots=self.slots(),
            slices=dict(self._slices),
            results=results or {},
            pending=pending,
            silent=silent or {},
            reports=measured.reports,
            namespace_labels=dict(self._labels),
            router_url=self._router_url,
            highest_revision=self._highest_revision,
            placement=placement or {},
            load=measured.load,
            idle_since=measured.idle_since,
        )

    def _set_slot(self, name: str, pool: str) -> None:
        word = self._own_word.get(name)
        slot = Slot(name, pool, tuple(replace(i, ready=i.ready or i.id == word) for i in self._shown[name]))
        known = self._slots.get(name)
        if not slot.ready:
            since = known.lost_since if known else self._missing_since.get(name)
            slot = replace(slot, lost_since=self._clock() if since is None else since)
        if slot != known:
            self._slots[name] = slot
            self._missing_since.pop(name, None)
            self.touch()

    def _set_model(self, key: str, model: TenantModel | None) -> None:
        known = self._models.pop(key)
        if known is not None:
            self.readiness[_ready(known)] -= 1
        if model is not None:
            self._models.put(key, model)
            self.readiness[_ready(model)] += 1

    def _set_slice(self, name: str, entries: Entries | None) -> None:
        if entries == self._slices.get(name):
            return
        if entries is None:
            del self._slices[name]
        else:
            self._slices[name] = entries
            self._highest_revision = max(self._highest_revision, *(e.revision for e in entries), 0)
        self.touch()

    def slots(self) -> dict[str, Slot]:
        """The slots observed, and those that a pool asks for though nothing runs for them yet."""
        now = self._clock()
        asked = {name: pool.name for pool in self._pools.values() for name in pool.slot_names()}
        leaving = self._slots.keys() - asked.keys()
        missing = asked.keys() - self._slots.keys()
        self._leaving_since = {name: self._leaving_since.get(name, now) for name in leaving}
        self._missing_since = {name: self._missing_since.get(name, now) for name in missing}
        slots = dict(self._slots)
        for name, since in self._leaving_since.items():
            slots[name] = replace(slots[name], leaving_since=since)
        for name, since in self._missing_since.items():
            slots[name] = Slot(name, asked[name], (), since)
        return slots


def _ready(model: TenantModel) -> tuple[str, str]:
    condition = model.status.condition("Ready")
    return (condition.status, condition.reason) if condition else ("Unknown", "")


def _differ_in_version_only(one: TenantModel, other: TenantModel) -> bool:
    """As after an own write, which the source shows with the version that it made."""
    if one.spec != other.spec or one.status != other.status:
        return False
    version = other.metadata.resource_version
    return msgspec.structs.replace(one.metadata, resource_version=version) == other.metadata
