"""Slices: of a good size, written only where they change, and complete at every moment of a change."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_core.slices import Entry, Reference, Target, Users, slice_bits, winners
from tenantry_operator.planning.layout import Layout
from tenantry_operator.planning.slicing import revise

Slices = dict[str, tuple[Entry, ...]]


def entry(number: int, version: int = 0, users: Users | None = None) -> Entry:
    reference = Reference(f"s3://models/{number}.onnx", "onnx", f"{version:064x}")
    return Entry(
        model=f"ns.m{number}",
        uid=f"uid-{number}",
        created="2026-01-01T00:00:00Z",
        revision=0,
        tenant=f"m{number}",
        pool="default",
        users=users or Users(),
        targets=(Target(reference, ("default-0",)),),
    )


def apply(entries: list[Entry], written: Slices) -> list[Slices]:
    """What is written after every single step of bringing `entries` about, the last one being the end."""
    known = winners(e for content in written.values() for e in content)
    highest = max((e.revision for e in known.values()), default=0)
    revised = {e.model: revise(e, known.get(e.model), highest) for e in entries}
    slices, obsolete = Layout().update(revised, written, len(revised))
    steps = [dict(written)]
    for name, content in slices.items():
        steps.append(steps[-1] | {name: content})
    for name in sorted(obsolete):
        steps.append({n: c for n, c in steps[-1].items() if n != name})
    return steps


def table(slices: Slices) -> dict[str, Entry]:
    return winners(e for content in slices.values() for e in content)


worlds = st.dictionaries(st.integers(0, 700), st.integers(0, 3), max_size=400)
sizes = st.sampled_from([0, 3, 90, 150, 450, 900])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(sizes, worlds), min_size=1, max_size=4))
def test_no_live_model_is_ever_absent_or_older(generations: list[tuple[int, dict[int, int]]]) -> None:
    written: Slices = {}
    for size, changes in generations:
        entries = [entry(n, changes.get(n, 0)) for n in range(size)]
        before = table(written)
        live = before.keys() & {e.model for e in entries}
        steps = apply(entries, written)
        for step in steps:
            there = table(step)
            assert live <= there.keys()
            assert all(not before[m].supersedes(there[m]) for m in live)
        written = steps[-1]
        strip = {m: msgspec.structs.replace(e, revision=0) for m, e in table(written).items()}
        assert strip == {e.model: e for e in entries}
        assert len(apply(entries, written)) == 1, "applied again, nothing is written"


@given(st.integers(1, 5000))
@settings(max_examples=15, deadline=None)
def test_slices_hold_about_a_hundred_entries(size: int) -> None:
    slices = apply([entry(n) for n in range(size)], {})[-1]
    assert max(len(content) for content in slices.values()) <= 200
    assert len(slices) <= 1 or size / len(slices) >= 40


def test_entries_with_many_users_make_more_slices() -> None:
    users = Users(ids=tuple(f"{i:0128}" for i in range(256)))
    slices = apply([entry(n, users=users) for n in range(100)], {})[-1]
    assert all(len(msgspec.json.encode(content)) <= 500_000 for content in slices.values())


def test_one_changed_model_writes_one_slice_and_one_revision() -> None:
    entries = [entry(n) for n in range(1000)]
    written = apply(entries, {})[-1]
    changed = [*entries[:500], entry(500, version=1), *entries[501:]]
    steps = apply(changed, written)
    assert len(steps) == 2
    after, before = table(steps[-1]), table(written)
    assert [m for m in after if after[m].revision != before[m].revision] == ["ns.m500"]
    assert after["ns.m500"].revision > before["ns.m500"].revision


def test_the_number_of_slices_does_not_swing_around_a_limit() -> None:
    written = apply([entry(n) for n in range(101)], {})[-1]
    bits = {slice_bits(name) for name in written}
    for size in (100, 99, 101, 90, 101):
        written = apply([entry(n) for n in range(size)], written)[-1]
        assert {slice_bits(name) for name in written} == bits


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(sizes, worlds), min_size=1, max_size=4))
def test_a_layout_that_goes_on_is_one_made_anew(generations: list[tuple[int, dict[int, int]]]) -> None:
    written: Slices = {}
    layout = Layout()
    known: dict[str, Entry] = {}
    for size, changes in generations:
        wanted = {e.model: e for e in (entry(n, changes.get(n, 0)) for n in range(size))}
        changed = {k: wanted.get(k) for k in wanted.keys() | known.keys() if wanted.get(k) != known.get(k)}
        slices, obsolete = layout.update(changed, written, len(wanted))
        assert (slices, obsolete) == Layout().update(wanted, written, len(wanted))
        known, written = wanted, {n: c for n, c in (written | slices).items() if n not in obsolete}


def test_revisions_go_on_from_the_highest_seen() -> None:
    known = {"ns.m1": msgspec.structs.replace(entry(1), revision=7)}
    assert revise(entry(1, version=1), known["ns.m1"], highest=40).revision == 41
    assert revise(entry(2), None, highest=40).revision == 41
    assert revise(entry(1), known["ns.m1"], highest=40) is known["ns.m1"]
