"""Whatever happens, in whatever order, wherever the operator dies: nothing that serves is ever lost."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tenantry_core.slices import Entry
from unit.operator.simulation import BROKEN, Simulation, digest, is_quiet

NAMES = ("a", "b", "c", "d")
CONTENTS = ("one", "two", f"{BROKEN} bytes")
names = st.sampled_from(NAMES)
contents = st.sampled_from(CONTENTS)
versions = st.integers(1, 2)


class Life(RuleBasedStateMachine):
    """People apply, update, delete; slots come and go; the operator works, and dies between two writes."""

    @initialize(slots=st.integers(1, 4), portion=st.sampled_from([1, 2, math.inf]))
    def begin(self, slots: int, portion: float) -> None:
        self.sim = Simulation(slots, portion)
        for name, pinned in (("a", False), ("b", True)):
            uri = f"s3://models/{name}-1.onnx"
            self.sim.store[uri] = "one"
            self.sim.apply(name, uri, sha256=digest("one") if pinned else "")
        self.sim.settle()
        self.written = self.sim.entries

    @rule(name=names, version=versions, pinned=st.booleans(), content=contents, replicas=st.integers(1, 3))
    def apply(self, name: str, version: int, pinned: bool, content: str, replicas: int) -> None:
        uri = f"s3://models/{name}-{version}.onnx"
        self.sim.store.setdefault(uri, content)
        self.sim.apply(name, uri, sha256=digest(content) if pinned else "", replicas=replicas)

    @rule(name=names, version=versions, content=st.one_of(st.none(), contents))
    def upload(self, name: str, version: int, content: str | None) -> None:
        uri = f"s3://models/{name}-{version}.onnx"
        self.sim.store.pop(uri, None)
        if content is not None:
            self.sim.store[uri] = content

    @precondition(lambda self: self.sim.models)
    @rule(data=st.data(), value=st.sampled_from(["x", "y"]))
    def refresh(self, data: st.DataObject, value: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.sim.models)))
        self.sim.refresh(key.removeprefix("ns."), value)

    @precondition(lambda self: self.sim.models)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.sim.models)))
        self.sim.delete(key.removeprefix("ns."))

    @rule(rates=st.dictionaries(names, st.sampled_from([0.0, 120.0, 500.0, 1000.0])))
    def measure(self, rates: dict[str, float]) -> None:
        self.sim.load = {f"ns.{name}": rate for name, rate in rates.items()}

    @rule(slots=st.integers(1, 4))
    def scale(self, slots: int) -> None:
        self.sim.scale(slots)

    @precondition(lambda self: len(self.sim.predictors) > 1)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        self.sim.kill(data.draw(st.sampled_from(sorted(self.sim.predictors))))

    @rule()
    def heal(self) -> None:
        self.sim.heal()

    @rule(down=st.booleans())
    def store(self, down: bool) -> None:
        self.sim.store_down = down

    @rule(seconds=st.sampled_from([1, 10, 40]))
    def wait(self, seconds: int) -> None:
        self.sim.pass_time(seconds)

    @rule(rounds=st.integers(1, 4))
    def reconcile(self, rounds: int) -> None:
        for _ in range(rounds):
            for _ in self.sim.writes(self.sim.plan()):
                self.check_entries()

    @rule(survived=st.integers(0, 6))
    def die(self, survived: int) -> None:
        """The operator stops after a few of a plan's writes; another one begins with what is written."""
        for done, _ in enumerate(self.sim.writes(self.sim.plan()), start=1):
            self.check_entries()
            if done >= survived:
                break
        self.sim.restart()

    @invariant()
    def check_entries(self) -> None:
        if not hasattr(self, "sim"):
            return
        entries = self.sim.entries
        for key, entry in entries.items():
            before = self.written.get(key)
            assert before is None or before.uid != entry.uid or entry.revision >= before.revision
            if entry != before:
                self.check_routes(entry, before if before and before.uid == entry.uid else None)
        for key, model in self.sim.models.items():
            if model.metadata.uid in self.sim.good:
                assert key in entries, f"{key} is absent"
                assert entries[key].targets, f"{key} has lost its good version"
        self.written = entries

    def check_routes(self, entry: Entry, before: Entry | None) -> None:
        """A route is new only where the version was loaded, but for what nobody served before.

        A version that was routed unseen and turned out bad has served nobody: its successor is routed as
        unseen as it was.
        """
        targets = before.targets if before else ()
        seen = [t for t in targets if (entry.uid, t.reference.sha256) not in self.sim.refused]
        old = {slot for target in seen for slot in target.slots}
        served_on = {s for s in old if s in self.sim.predictors and self.sim.predictors[s].instance.ready}
        for target in entry.targets:
            for slot in target.slots:
                known = before and any(
                    target.reference == t.reference and slot in t.slots for t in before.targets
                )
                loaded = (slot, entry.uid, target.reference.sha256) in self.sim.loaded
                assert known or loaded or not served_on, f"{entry.model} is routed cold to {slot}"
        if any(
            (slot, entry.uid, t.reference.sha256) in self.sim.loaded
            for t in entry.targets
            for slot in t.slots
        ):
            self.sim.good[entry.uid] = entry.model

    def teardown(self) -> None:
        """Left alone, it comes to rest, tells the truth, and a restart changes nothing."""
        if not hasattr(self, "sim"):
            return
        sim = self.sim
        sim.store_down = False
        sim.heal()
        sim.settle(rounds=120, patience=900)
        for key, model in sim.models.items():
            self.check_truth(key.removeprefix("ns."), model.spec.artifact.uri, model.spec.artifact.sha256)
        failing = {key for key in sim.models if sim.ready(key.removeprefix("ns."))[0] != "True"}
        sim.restart()
        undecided: float = math.inf
        while undecided:
            decided = sim.plan()
            assert decided.undecided < undecided
            undecided = decided.undecided
            # What fails is tried again at once, and a move that could not be completed is given up.
            assert decided.statuses.keys() <= failing
            assert {check.model for check in decided.checks} <= failing
            assert is_quiet(replace(decided, statuses={}, checks=(), events={}))

    def check_truth(self, name: str, uri: str, sha256: str) -> None:
        served, slots = self.sim.routed(name)
        ready, _ = self.sim.ready(name)
        uid = self.sim.models[f"ns.{name}"].metadata.uid
        assert (ready == "True") <= bool(slots), f"{name} is Ready, but routed nowhere"
        assert ready != "Unknown", f"{name} was never judged"
        if ready == "True":
            assert not sha256 or served == sha256
            assert any((u, d) == (uid, served) for _, u, d in self.sim.loaded)
            assert self.sim.active(name).uri == uri
        found = self.sim.store.get(uri)
        if found and not found.startswith(BROKEN) and sha256 == digest(found):
            assert ready == "True", f"{name} is good, but {self.sim.status(name).conditions}"
        for slot in slots:
            assert slot in self.sim.predictors, f"{name} is routed to {slot}, which is gone"


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
