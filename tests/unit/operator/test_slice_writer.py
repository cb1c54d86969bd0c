"""Slices are written beside the plans: the newest content, what is urgent first, what is obsolete last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tenantry_core.slices import Entry
from tenantry_operator.planning.plan import Plan
from tenantry_operator.reconciling.actuator import WriteConflict
from tenantry_operator.reconciling.slice_writer import AT_A_TIME, SliceWriter
from unit.operator.running import Journal, run, until


def content(model: str, revision: int = 1) -> tuple[Entry, ...]:
    return (Entry(model, f"uid-{model}", "2026-01-01T00:00:00Z", revision, "t", "default"),)


class Gate(Journal):
    """An actuator whose writes wait until they are let through."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.begun: list[str] = []

    async def write_slice(self, name: str, entries: Sequence[Entry]) -> None:
        self.begun.append(name)
        await self.open.wait()
        await super().write_slice(name, entries)


class Writing:
    """A writer at work, and what it reports."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.conflicts: list[str] = []
        self.failures = 0
        self.writer = SliceWriter(self.gate, lambda *_: None, self.conflicts.append, self.fail)
        self.task = asyncio.create_task(self.writer.run())

    def fail(self) -> None:
        self.failures += 1

    async def begin(self, slices: dict[str, tuple[Entry, ...]]) -> None:
        """The first plan, until as many slices are being written as may be."""
        self.writer.replace(Plan(slices))
        await until(lambda: len(self.gate.begun) == AT_A_TIME)

    async def done(self) -> None:
        self.gate.open.set()
        await until(lambda: self.writer.is_idle)
        self.task.cancel()


@run
async def test_a_change_does_not_wait_behind_thousands_that_are_written_for_the_first_time() -> None:
    writing = Writing()
    many = {f"placement-9-{n}": content(f"n.m{n}") for n in range(300)}
    await writing.begin(many)
    for changed in ("placement-9-299", "placement-9-200"):
        writing.writer.begin()
        many[changed] = content(f"n.m{changed[-3:]}", 2)
        writing.writer.replace(Plan(many, urgent=frozenset({changed})))
    writing.writer.begin()
    writing.writer.replace(Plan(many))  # of what waits only
    await writing.done()
    assert writing.gate.begun[AT_A_TIME : AT_A_TIME + 2] == ["placement-9-299", "placement-9-200"]
    assert writing.gate.slices["placement-9-299"][0].revision == 2
    assert len(writing.gate.slices) == 300


@run
async def test_a_change_to_what_is_just_written_is_the_next_to_be_written() -> None:
    writing = Writing()
    many = {f"placement-9-{n:03}": content(f"n.m{n}") for n in range(300)}
    await writing.begin(many)
    begun = writing.gate.begun[0]
    many[begun] = content("n.m0", 2)
    writing.writer.begin()
    writing.writer.replace(Plan(many, urgent=frozenset({begun})))
    writing.gate.open.set()
    await until(lambda: begun in writing.gate.slices)
    writing.writer.begin()
    left = {name: planned for name, planned in many.items() if writing.gate.slices.get(name) != planned}
    before = len(writing.gate.begun)
    writing.writer.replace(Plan(left))
    await writing.done()
    assert begun in writing.gate.begun[before : before + AT_A_TIME]
    assert writing.gate.slices[begun][0].revision == 2


@run
async def test_what_is_obsolete_goes_once_everything_else_stands() -> None:
    writing = Writing()
    writing.gate.slices["placement-0-0"] = content("n.a")
    planned = {f"placement-1-{n}": content(f"n.m{n}") for n in range(2)}
    writing.writer.replace(Plan(planned, obsolete=frozenset({"placement-0-0"})))
    await until(lambda: len(writing.gate.begun) == 2)
    assert "placement-0-0" in writing.gate.slices
    await writing.done()
    assert writing.gate.writes[-1] == ("delete", "placement-0-0")


@run
async def test_what_was_planned_before_a_write_ended_is_left_to_the_next_plan() -> None:
    writing = Writing()
    writing.writer.replace(Plan({"placement-0-0": content("n.a")}))
    await until(lambda: writing.gate.begun == ["placement-0-0"])
    writing.writer.replace(Plan({"placement-0-0": content("n.a", 2)}))
    await writing.done()
    assert writing.gate.slices["placement-0-0"][0].revision == 1


@run
async def test_after_a_conflict_nothing_is_written_that_was_planned_before() -> None:
    writing = Writing()

    def refuse(kind: str, name: str) -> None:
        if name == "placement-4-0":
            raise WriteConflict

    writing.gate.fail = refuse
    planned = {f"placement-4-{n}": content(f"n.m{n}") for n in range(16)}
    writing.writer.replace(Plan(planned, obsolete=frozenset({"placement-0-0"})))
    await until(lambda: len(writing.gate.begun) == AT_A_TIME)
    writing.gate.open.set()
    await until(lambda: writing.failures == 1)
    assert writing.conflicts == ["placement-4-0"]
    assert ("delete", "placement-0-0") not in writing.gate.writes
    await writing.done()
