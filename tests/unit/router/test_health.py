"""Ejection and return, in invented time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_core.snapshot import AddressBook, SlotAddress
from tenantry_router.fleet import Slot
from tenantry_router.health import (
    FAILURES_TO_EJECT,
    FIRST_EJECTION,
    FORGIVEN_AFTER,
    LONGEST_EJECTION,
    PROBES_TO_EJECT,
    Health,
)
from tenantry_router.retry_budget import MINIMUM, SHARE, WINDOW, RetryBudget
from unit.router.worlds import fleet


class World:
    def __init__(self, slots: int) -> None:
        self.fleet = fleet([f"p-{n}" for n in range(slots)])
        self.ejected: list[str] = []
        self.health = Health(self.fleet, lambda slot: self.ejected.append(slot.name))

    def slot(self, number: int = 0) -> Slot:
        return self.fleet.slots[f"p-{number}"]

    def show(self, *, ready: bool) -> None:
        """The address book says so of every slot."""
        slots = tuple(self.fleet.slots)
        book = tuple(SlotAddress(slot, "p", "h", {"http": 1}, ready=ready) for slot in slots)
        self.fleet.set_addresses(AddressBook(book))

    def fail(self, now: float, number: int = 0, times: int = FAILURES_TO_EJECT) -> None:
        for _ in range(times):
            self.health.failed(self.slot(number), now)

    def time_out(self, now: float) -> float:
        """How long the slot stays out, though every probe is answered."""
        start = now
        while self.slot().ejected:
            now += 0.1
            self.health.probed(self.slot(), True, now)
        return now - start


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from(["fail", "answer", "alive", "dead"]), st.integers(0, 5)), max_size=80),
)
def test_never_more_than_half_of_a_pool_is_out(slots: int, events: list[tuple[str, int]]) -> None:
    world = World(slots)
    for now, (event, number) in enumerate(events):
        slot = world.slot(number % slots)
        if event == "fail":
            world.health.failed(slot, now)
        elif event == "answer":
            slot.failures = 0
        else:
            world.health.probed(slot, event == "alive", now)
        assert 2 * sum(slot.ejected for slot in world.fleet.slots.values()) <= slots


def test_only_consecutive_failures_count() -> None:
    world = World(2)
    world.fail(0.0, times=FAILURES_TO_EJECT - 1)
    world.slot().failures = 0  # an answer
    world.fail(0.0, times=FAILURES_TO_EJECT - 1)
    assert not world.slot().ejected
    world.fail(0.0, times=1)
    assert world.ejected == ["p-0"]


def test_each_ejection_lasts_longer_than_the_one_before_until_it_is_forgiven() -> None:
    world = World(2)
    now, times = 1000.0, []
    for _ in range(7):
        world.fail(now)
        times.append(round(world.time_out(now)))
        now += times[-1] + 1
    assert times == [FIRST_EJECTION, 2, 4, 8, 16, LONGEST_EJECTION, LONGEST_EJECTION]
    now += FORGIVEN_AFTER + 1
    world.fail(now)
    assert round(world.time_out(now)) == FIRST_EJECTION


def test_a_slot_that_answers_no_probe_is_out_until_it_answers_one() -> None:
    world = World(2)
    for _ in range(PROBES_TO_EJECT):
        assert not world.slot().ejected
        world.health.probed(world.slot(), False, 0.0)
    assert world.slot().ejected
    world.health.probed(world.slot(), True, 0.1)
    assert not world.slot().ejected


def test_a_new_pod_behind_a_slot_starts_with_a_clean_record() -> None:
    world = World(2)
    world.fail(0.0)
    old = world.slot()
    world.fleet.set_addresses(
        AddressBook(tuple(SlotAddress(f"p-{n}", "p", "h", {"http": 2 - n}) for n in range(2)))
    )
    assert world.slot().available
    assert world.slot(1).available
    assert old.upstream.closed  # type: ignore[attr-defined]
    for _ in range(FAILURES_TO_EJECT):
        world.health.failed(old, 1.0)  # answers that were still awaited from the old pod
    assert world.slot().available


def test_an_address_that_stays_keeps_its_connections() -> None:
    world = World(2)
    kept = world.slot()
    world.show(ready=False)
    assert world.slot() is kept


def test_a_slot_that_was_ready_stays_in_rotation_until_it_denies_it_itself() -> None:
    world = World(2)
    world.show(ready=False)
    assert world.slot().available
    world.health.said(world.slot(), True)
    assert world.slot().available
    world.health.said(world.slot(), False)
    assert not world.slot().available
    world.health.probed(world.slot(), True, 0.0)
    assert not world.slot().available
    world.health.said(world.slot(), True)
    assert world.slot().available


def test_a_slot_that_is_doubted_and_does_not_answer_is_out_however_many_are() -> None:
    world = World(2)
    world.show(ready=False)
    for number in range(2):
        for _ in range(PROBES_TO_EJECT):
            assert world.slot(number).available
            world.health.probed(world.slot(number), False, 0.0)
    assert not world.slot(0).available
    assert not world.slot(1).available


def test_a_slot_that_never_was_ready_is_used_once_it_says_so() -> None:
    world = World(1)
    world.fleet.set_addresses(AddressBook((SlotAddress("p-0", "p", "new", {"http": 1}, ready=False),)))
    assert not world.slot().available
    world.health.probed(world.slot(), True, 0.0)
    assert not world.slot().available
    world.health.said(world.slot(), True)
    assert world.slot().available


def test_what_a_slot_was_asked_before_the_book_called_it_ready_does_not_count() -> None:
    world = World(1)
    world.show(ready=False)
    world.show(ready=True)
    world.health.said(world.slot(), False)
    assert world.slot().available


def test_a_slot_that_starts_is_not_put_out_of_rotation(caplog: pytest.LogCaptureFixture) -> None:
    world = World(0)
    slots = ("p-0", "p-1")
    book = tuple(SlotAddress(slot, "p", "new", {"http": 1}, ready=False) for slot in slots)
    world.fleet.set_addresses(AddressBook(book))
    for _ in range(5 * PROBES_TO_EJECT):
        world.health.probed(world.slot(), False, 0.0)
    assert world.ejected == []
    assert not caplog.records


@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=300))
def test_retries_stay_within_their_share_of_the_last_ten_seconds(steps: list[tuple[float, bool]]) -> None:
    budget = RetryBudget()
    now = 0.0
    requests: list[int] = []
    retries: list[int] = []
    for pause, wants_retry in steps:
        now += pause
        budget.record(now)
        requests.append(int(now))
        if wants_retry:
            allowed = max(MINIMUM, SHARE * sum(second > int(now) - WINDOW for second in requests))
            spent = sum(second > int(now) - WINDOW for second in retries)
            taken = budget.take(now)
            assert taken == (spent < allowed)
            if taken:
                retries.append(int(now))


def test_a_burst_of_failures_runs_out_of_budget_and_recovers() -> None:
    budget = RetryBudget()
    for _ in range(2000):
        budget.record(5.0)
    assert sum(budget.take(5.5) for _ in range(1000)) == SHARE * 2000
    assert sum(budget.take(16.0) for _ in range(1000)) == MINIMUM
