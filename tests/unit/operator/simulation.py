"""A store, predictors and an API server that hold everything in memory, to run plans against step by step."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from tenantry_core.resources import (
    ActiveVersion,
    Artifact,
    Metadata,
    PredictorPool,
    PredictorPoolSpec,
    TenantModel,
    TenantModelSpec,
    TenantModelStatus,
)
from tenantry_core.slices import Entry, winners
from tenantry_core.wire import LoadReport, SlotReport
from tenantry_operator.planning.plan import Plan
from tenantry_operator.planning.planner import Planner, plan
from tenantry_operator.planning.world import (
    SLOT_UNREACHABLE,
    Check,
    CheckFailure,
    CheckResult,
    Instance,
    World,
)
from tenantry_operator.reconciling.measurements import Measurements
from tenantry_operator.reconciling.state import ObservedState

T = TypeVar("T")

BROKEN = "broken"
"""What the store holds where an artifact cannot be opened."""


def digest(text: str) -> str:
    """64 hex digits that stand for the content `text`."""
    return text.encode().hex().ljust(64, "0")[:64]


@dataclass
class Predictor:
    """One instance: what it holds in memory, by tenant and digest."""

    instance: Instance
    memory: set[tuple[str, str]] = field(default_factory=set)


class Simulation:
    """The outside world. `state` is what an operator observes of it; `restart` gives a new operator."""

    def __init__(self, slots: int = 2, portion: float = math.inf) -> None:
        self.portion = portion
        """How many models a plan decides about."""
        self.now = 1_000_000.0
        self.store: dict[str, str] = {}
        self.store_down = False
        self.models: dict[str, TenantModel] = {}
        self.pool = PredictorPool(Metadata(name="default", uid="pool"), PredictorPoolSpec(replicas=slots))
        self.predictors: dict[str, Predictor] = {}
        self.down: set[str] = set()
        self.slices: dict[str, tuple[Entry, ...]] = {}
        self.loaded: set[tuple[str, str, str]] = set()
        """Slot, uid and digest of every load that succeeded."""
        self.refused: set[tuple[str, str]] = set()
        """Uid and digest of every version that a load judged bad and none has succeeded for."""
        self.good: dict[str, str] = {}
        """Models by uid that have had a version which was loaded and routed: they must never be absent."""
        self.revisions: dict[str, int] = {}
        self.events: list[str] = []
        self.load: dict[str, float] = {}
        self.busy: set[str] = set()
        """Slots that answer requests, as opposed to idle ones."""
        self.reports: dict[str, SlotReport] = {}
        self._ids = iter(range(1_000_000))
        self.restart()

    # What people and machines do.

    def apply(
        self, name: str, uri: str, *, sha256: str = "", replicas: int = 1, **spec: object
    ) -> TenantModel:
        """Create or update a TenantModel."""
        key = f"ns.{name}"
        artifact = Artifact(uri, sha256=sha256, probe_user=str(spec.pop("probe_user", "")))
        wanted = TenantModelSpec(artifact, min_replicas=replicas, **spec)  # type: ignore[arg-type]
        known = self.models.get(key)
        if known is None:
            created = f"2026-01-01T00:00:00.{next(self._ids):06}Z"
            metadata = Metadata(name, "ns", f"uid-{next(self._ids)}", 1, created)
            known = TenantModel(metadata, wanted)
        elif known.spec != wanted:
            metadata = msgspec.structs.replace(known.metadata, generation=known.metadata.generation + 1)
            known = msgspec.structs.replace(known, metadata=metadata, spec=wanted)
        self._put(known)
        return known

    def refresh(self, name: str, value: str) -> None:
        model = self.models[f"ns.{name}"]
        annotations = {"tenantry.dev/refresh": value}
        metadata = msgspec.structs.replace(model.metadata, annotations=annotations)
        self._put(msgspec.structs.replace(model, metadata=metadata))

    def delete(self, name: str) -> None:
        model = self.models.pop(f"ns.{name}")
        self.good.pop(model.metadata.uid, None)
        self.state.drop_model(model.key)

    def scale(self, slots: int) -> None:
        metadata = msgspec.structs.replace(self.pool.metadata, generation=self.pool.metadata.generation + 1)
        self.pool = msgspec.structs.replace(
            self.pool, metadata=metadata, spec=PredictorPoolSpec(replicas=slots)
        )
        self.state.put_pool(self.pool)

    def kill(self, slot: str) -> None:
        """The slot's predictor is gone and does not come back before `heal`."""
        self.down.add(slot)
        self.predictors.pop(slot, None)
        self._show_slot(slot)

    def heal(self) -> None:
        """Every slot that should run has a predictor; a new one remembers nothing."""
        self.down.clear()
        self._start_missing()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def restart(self) -> None:
        """A new operator, that knows only what is written and what runs."""
        self.state = ObservedState(clock=lambda: self.now, router_url="http://router")
        self.planner = Planner(self.portion)
        self.results: dict[Check, CheckResult] = {}
        self.known_results: dict[str, tuple[CheckResult, ...]] = {}
        self.silent: dict[str, float] = {}
        self.placement: Mapping[str, tuple[str, ...]] = {}
        self.asked_slots: tuple[str, ...] = self.pool.slot_names()
        for model in self.models.values():
            self.state.put_model(model)
        self.state.put_pool(self.pool)
        for slot in self.predictors:
            self._show_slot(slot)
        for name, entries in self.slices.items():
            self.state.put_slice(name, entries)
        self.state.set_complete()

    # What an operator does.

    def world(self) -> World:
        idle = dict.fromkeys(self.predictors.keys() - self.busy, self.now - 100)
        return self.state.world(
            results=self.results_by_model(),
            silent=self.silent,
            measured=Measurements(self.reports, dict(self.load), idle),
            placement=self.placement,
        )

    def results_by_model(self) -> dict[str, tuple[CheckResult, ...]]:
        """A model's results are another object only where they have changed, as an operator keeps them."""
        uids = {check.uid for check in self.results}
        found = {u: tuple(r for c, r in self.results.items() if c.uid == u) for u in uids}
        self.known_results = {u: k if (k := self.known_results.get(u)) == r else r for u, r in found.items()}
        return self.known_results

    def plan(self) -> Plan:
        """Plan on, and hold that against a plan of the same world by one who has planned nothing before.

        Where models are left to the next plan, the two are not the same yet.
        """
        world = self.world()
        decided = self.planner.plan(world)
        if decided.undecided:
            return decided
        assert timeless(decided) == timeless(plan(world)), "what was planned before changed the plan"
        assert timeless(plan(shuffled(world))) == timeless(decided), "the order of a mapping changed the plan"
        return decided

    def writes(self, decided: Plan) -> Iterator[None]:
        """Carry a plan out; each step is one write or one load, after which the operator may die.

        The watch tells of a slice before its write returns, and what it shows are other objects.
        """
        for name, entries in decided.slices.items():
            self.slices[name] = entries
            self.state.put_slice(name, msgspec.convert(msgspec.to_builtins(entries), tuple[Entry, ...]))
            self.state.wrote_slice(name, entries)
            yield
        for name in sorted(decided.obsolete):
            del self.slices[name]
            self.state.wrote_slice(name, None)
            yield
        self.placement = decided.placement
        self.asked_slots = decided.pool_slots["default"]
        self._start_missing()
        self.events += [event.reason for news in decided.events.values() for event in news]
        for instance in decided.warm:
            self._turn_ready(instance)
        for key, status in decided.statuses.items():
            if key in self.models and key not in decided.unwritten:
                self.state.wrote_status(self.models[key], status)
                self.models[key] = msgspec.structs.replace(self.models[key], status=status)
            yield
        for pool_status in decided.pool_statuses.values():
            self.state.wrote_pool_status(self.pool, pool_status)
            self.pool = msgspec.structs.replace(self.pool, status=pool_status)
        for check in decided.checks:
            self._load(check)
            yield

    def step(self) -> Plan:
        decided = self.plan()
        for _ in self.writes(decided):
            pass
        return decided

    def settle(self, rounds: int = 60, patience: float = 600.0) -> Plan:
        """Reconcile until a plan asks for nothing; time passes only where the planner waits for it."""
        until = self.now + patience
        for _ in range(rounds):
            decided = self.step()
            if is_quiet(decided):
                if decided.undecided:
                    continue
                assert not decided.unwritten
                if decided.wake_at is None or decided.wake_at > until:
                    return decided
                self.now = decided.wake_at
        raise AssertionError(f"still busy: {decided}")

    # What one may look at.

    @property
    def entries(self) -> dict[str, Entry]:
        return winners(entry for entries in self.slices.values() for entry in entries)

    def routed(self, name: str) -> tuple[str, tuple[str, ...]]:
        """Digest and slots of what serves; ("", ()) for nothing."""
        entry = self.entries.get(f"ns.{name}")
        if entry is None or not entry.targets:
            return "", ()
        return entry.targets[0].reference.sha256, entry.targets[0].slots

    def status(self, name: str) -> TenantModelStatus:
        return self.models[f"ns.{name}"].status

    def ready(self, name: str) -> tuple[str, str]:
        condition = self.status(name).condition("Ready")
        assert condition is not None
        return condition.status, condition.reason

    def serving(self, name: str) -> tuple[str, str]:
        condition = self.status(name).condition("Serving")
        assert condition is not None
        return condition.status, condition.reason

    def active(self, name: str) -> ActiveVersion:
        active = self.status(name).active
        assert active is not None
        return active

    # How the parts behave.

    def _put(self, model: TenantModel) -> None:
        if model is not self.models.get(model.key):
            metadata = msgspec.structs.replace(model.metadata, resource_version=str(next(self._ids)))
            model = msgspec.structs.replace(model, metadata=metadata)
        self.models[model.key] = model
        self.state.put_model(model)

    def _start_missing(self) -> None:
        for slot in self.asked_slots:
            if slot not in self.predictors and slot not in self.down:
                instance = Instance(f"{slot}-{next(self._ids)}", "10.0.0.1", 8080, ready=False)
                self.predictors[slot] = Predictor(instance)
                self._show_slot(slot)
        for slot in self.predictors.keys() - set(self.asked_slots):
            del self.predictors[slot]
            self.state.drop_slot(slot)

    def _turn_ready(self, instance: str) -> None:
        for slot, predictor in self.predictors.items():
            if predictor.instance.id == instance:
                predictor.instance = replace(predictor.instance, ready=True)
                self._show_slot(slot)

    def _show_slot(self, slot: str) -> None:
        predictor = self.predictors.get(slot)
        self.state.put_slot(slot, "default", [predictor.instance] if predictor else [])

    def _load(self, check: Check) -> None:
        known = self.results.get(check)
        outcome = self._answer(check)
        failed_before = known is not None and isinstance(known.outcome, CheckFailure)
        attempts = known.attempts + 1 if known and failed_before else 1
        self.results[check] = CheckResult(check, outcome, self.now, attempts)
        if isinstance(outcome, CheckFailure) and outcome.reason == SLOT_UNREACHABLE:
            self.silent[check.instance] = self.now + 1.0
        else:
            self.silent.pop(check.instance, None)
        version = (check.uid, check.reference.sha256)
        if isinstance(outcome, LoadReport):
            self.refused.discard(version)
        elif not outcome.transient and version not in {(uid, sha256) for _, uid, sha256 in self.loaded}:
            self.refused.add(version)
        self.state.touch()

    def _answer(self, check: Check) -> LoadReport | CheckFailure:
        predictor = self.predictors.get(check.slot)
        if predictor is None or predictor.instance.id != check.instance:
            return CheckFailure("SlotUnreachable", "connection refused", transient=True)
        wanted = check.reference.sha256
        if (check.tenant, wanted) not in predictor.memory:
            if self.store_down:
                return CheckFailure("StorageUnavailable", "the store does not answer.", transient=True)
            found = self.store.get(check.reference.uri)
            if found is None:
                return CheckFailure("ArtifactNotFound", f"{check.reference.uri} is not there", False)
            if wanted and digest(found) != wanted:
                return CheckFailure("DigestMismatch", f"{check.reference.uri} has other bytes", False)
            if found.startswith(BROKEN):
                return CheckFailure("LoadFailed", "it cannot be opened", transient=False)
            wanted = digest(found)
        if not check.verify:
            predictor.memory.add((check.tenant, wanted))
        self.loaded.add((check.slot, check.uid, wanted))
        return LoadReport(wanted, 43_000, 12.5, "onnx", probed=True)


def is_quiet(decided: Plan) -> bool:
    """Does the plan ask for nothing at all?"""
    return not (
        decided.slices
        or decided.obsolete
        or decided.statuses
        or decided.pool_statuses
        or decided.checks
        or decided.releases
        or decided.warm
        or decided.events
    )


def timeless(decided: Plan) -> Plan:
    """Without what an undisturbed plan keeps of the last one: times and revisions of what is not written, and
    what is news.
    """

    def bare(status: TenantModelStatus) -> TenantModelStatus:
        conditions = (msgspec.structs.replace(c, last_transition_time="") for c in status.conditions)
        return msgspec.structs.replace(status, conditions=tuple(conditions))

    return replace(
        decided,
        slices={
            name: tuple(msgspec.structs.replace(e, revision=0) for e in entries)
            for name, entries in decided.slices.items()
        },
        urgent=frozenset(),
        statuses={key: bare(status) for key, status in decided.statuses.items()},
        unwritten=frozenset(decided.unwritten),
        events=dict(decided.events),
    )


def shuffled(world: World) -> World:
    """The same world with every mapping and list in another order."""
    mixer = random.Random(7)
    return replace(
        world,
        models=_mixed(mixer, world.models),
        pools=_mixed(mixer, world.pools),
        slots=_mixed(mixer, world.slots),
        slices=_mixed(mixer, world.slices),
        placement=_mixed(mixer, world.placement),
        results={u: tuple(mixer.sample(r, len(r))) for u, r in _mixed(mixer, world.results).items()},
    )


def _mixed(mixer: random.Random, items: Mapping[str, T]) -> dict[str, T]:
    pairs = list(items.items())
    mixer.shuffle(pairs)
    return dict(pairs)
