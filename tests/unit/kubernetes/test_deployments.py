"""Which slots' Deployments are written next while a template changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tenantry_operator.kubernetes.deployments import Deployment, due, surplus

NEW, OLD = "new", "old"


def present(*states: tuple[str, bool]) -> dict[str, Deployment]:
    """Slots a-0, a-1, ... by the digest that was applied and whether they have settled."""
    return {
        f"a-{i}": Deployment(f"a-{i}", "a", digest, settled) for i, (digest, settled) in enumerate(states)
    }


def wanted(count: int) -> dict[str, str]:
    return {f"a-{i}": NEW for i in range(count)}


def test_missing_ones_are_written_at_once() -> None:
    assert due(wanted(30), {}) == list(wanted(30))


def test_nothing_is_written_when_nothing_changed() -> None:
    assert due(wanted(2), present((NEW, True), (NEW, False))) == []


def test_a_small_pool_changes_one_by_one() -> None:
    assert len(due(wanted(3), present((OLD, True), (OLD, True), (OLD, True)))) == 1
    assert due(wanted(3), present((NEW, False), (OLD, True), (OLD, True))) == []
    assert due(wanted(3), present((NEW, True), (OLD, True), (OLD, True))) == ["a-1"]


def test_those_with_nothing_to_lose_go_first() -> None:
    assert due(wanted(3), present((OLD, True), (OLD, False), (OLD, True))) == ["a-1"]


def test_a_tenth_of_a_large_pool_changes_at_a_time() -> None:
    assert len(due(wanted(50), present(*[(OLD, True)] * 50))) == 5


def test_what_is_not_wanted_goes() -> None:
    assert surplus(wanted(1), present((NEW, True), (NEW, True))) == ["a-1"]


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_change_reaches_every_slot_and_never_disturbs_more_than_its_share(settled: list[bool]) -> None:
    deployments = present(*[(OLD, s) for s in settled])
    target = wanted(len(settled))
    for _ in range(2 * len(settled)):
        for slot in due(target, deployments):
            deployments[slot] = Deployment(slot, "a", NEW, settled=False)
        moving = [d.slot for d in deployments.values() if d.digest == NEW and not d.settled]
        assert len(moving) <= max(1, len(settled) // 10)
        if moving:
            deployments[moving[0]] = Deployment(moving[0], "a", NEW, settled=True)
    assert {d.digest for d in deployments.values()} == {NEW}
