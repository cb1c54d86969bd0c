"""What the planner decides, as values: the actuators carry it out and decide nothing."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

from tenantry_core.resources import PredictorPoolStatus, TenantModelStatus
from tenantry_core.slices import Entry, Reference
from tenantry_operator.planning.world import Check


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a person would ask about, recorded on a resource."""

    kind: Literal["TenantModel", "PredictorPool"]
    name: str
    namespace: str
    uid: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Release:
    """A version that a slot need not keep: it becomes first to evict."""

    slot: str
    model: str
    tenant: str
    reference: Reference


@dataclass(frozen=True, slots=True)
class Plan:
    """What concerns thousands is a view of what the planner knows, and as such stands until the next plan."""

    slices: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    """Slices whose content differs from what is written; written before anything else."""
    urgent: frozenset[str] = frozenset()
    """Those of them that hold what has just changed: to be written before what waits for its first time."""
    obsolete: frozenset[str] = frozenset()
    """Slices to delete once the others stand."""
    unwritten: Set[str] = frozenset()
    """Models whose entry is not written as planned, or should be gone, by key. A view."""
    statuses: Mapping[str, TenantModelStatus] = field(default_factory=dict)
    """Statuses that differ, by model key, failures first. A view, which may work them out when asked."""
    pool_statuses: Mapping[str, PredictorPoolStatus] = field(default_factory=dict)
    pool_slots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The slots each pool must run now: those it asks for and those that are still drained."""
    checks: tuple[Check, ...] = ()
    """Loads to start, most urgent first."""
    releases: tuple[Release, ...] = ()
    warm: frozenset[str] = frozenset()
    """Ids of instances whose share is loaded: tell them to turn ready."""
    events: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)
    """What is news in these statuses, by model key. A view."""
    placement: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The slots each model should be on in the end; to be handed to the next plan."""
    undecided: int = 0
    """Models that this plan has left to the next one, which should be made at once."""
    wake_at: float | None = None
    """When to plan again although nothing changed: the next retry or the end of a grace time."""
