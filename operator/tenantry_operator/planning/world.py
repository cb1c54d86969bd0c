"""What the planner knows: resources, slots, what is written, and what slots answered. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenantry_core.resources import PredictorPool, TenantModel
from tenantry_core.slices import Entry, Reference
from tenantry_core.wire import LoadReport, SlotReport


@dataclass(frozen=True, slots=True)
class Instance:
    """One pod (or process) behind a slot. A slot that surges has two."""

    id: str
    """The pod's uid, or the process's; another id means another memory."""
    host: str
    port: int
    ready: bool
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    name: str
    pool: str
    instances: tuple[Instance, ...] = ()
    lost_since: float | None = None
    """Unix time, in seconds, since when it has had no ready instance; None while it has one."""
    leaving_since: float | None = None
    """Unix time, in seconds, since when its pool no longer asks for it."""

    @property
    def ready(self) -> bool:
        return any(i.ready and not i.terminating for i in self.instances)


@dataclass(frozen=True, slots=True)
class Check:
    """A load to ask of one instance: to verify a version, or to make it warm before it is routed."""

    model: str
    uid: str
    generation: int
    refresh: str
    slot: str
    instance: str
    reference: Reference
    tenant: str
    pinned: bool = False
    verify: bool = False
    probe_user: str = ""


SLOT_UNREACHABLE = "SlotUnreachable"
"""The reason of a failure that is the instance's own: it refuses connections, or talks nonsense."""


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """Why a load failed: a reason of the status, a sentence, and whether trying again may help."""

    reason: str
    message: str
    transient: bool
    """The slot or the store did not answer: this says nothing about the artifact."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    check: Check
    outcome: LoadReport | CheckFailure
    at: float
    """Unix time in seconds."""
    attempts: int = 1
    """How often in a row it has failed; the planner spaces its retries by it."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything that one plan depends on. The same world gives the same plan."""

    now: float
    """Unix time in seconds."""
    models: Mapping[str, TenantModel]
    """By key."""
    pools: Mapping[str, PredictorPool]
    slots: Mapping[str, Slot]
    """Every slot that runs or should run, leaving ones too."""
    slices: Mapping[str, tuple[Entry, ...]]
    """PlacementSlices as written, by name."""
    results: Mapping[str, tuple[CheckResult, ...]] = field(default_factory=dict)
    """The last result of each check, by the model's uid, as far as this process remembers."""
    pending: frozenset[Check] = frozenset()
    """Checks that run at the moment."""
    silent: Mapping[str, float] = field(default_factory=dict)
    """Instances that did not answer: until when, in Unix time, they are left alone."""
    reports: Mapping[str, SlotReport] = field(default_factory=dict)
    """What each slot said it holds, by slot, as of the last poll."""
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    router_url: str = ""
    """Where applications reach the router, for `status.url`; empty: no URL is told."""
    highest_revision: int = 0
    """Of all entries seen, those since deleted too."""
    placement: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The last plan's, by model key. A move takes several plans; without this (after a restart) what is
    written counts as the placement, and moves half done stay as they are."""
    load: Mapping[str, float] | None = None
    """Requests per second by model key, as measured between the last polls; None: not measured yet."""
    idle_since: Mapping[str, float] = field(default_factory=dict)
    """Unix time, in seconds, since when a slot has had no request, by slot; absent: busy or not known."""
