"""Which of the loads that are wanted to start now: what is due, what answers, what there is room for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tenantry_core.wire import LoadReport
from tenantry_operator.planning.case import Case
from tenantry_operator.planning.loads import Known, OneOf, retry_at
from tenantry_operator.planning.world import Check, CheckFailure, Instance, World

ROOM = 8
"""Loads offered to one instance that any other could do too; it works on a few at a time."""


class Requests:
    """Collects what to ask in this plan, and when to plan again."""

    def __init__(self, world: World) -> None:
        self._now = world.now
        self._pending = world.pending
        self._silent_until = world.silent
        self._busy = {_subject(check) for check in world.pending}
        self._answering: dict[str, list[str]] = {}
        self._asked: dict[Check, int] = {}
        self._room: dict[str, int] = {}
        self._pools: dict[str, str] = {}
        self._free: Counter[str] = Counter()
        """Instances with room, by pool."""
        for slot in world.slots.values():
            for instance in slot.instances:
                if instance.ready and not instance.terminating and self.answers(instance):
                    self._room[instance.id] = 1 if instance.id in world.silent else ROOM
                    self._pools[instance.id] = slot.pool
                    self._free[slot.pool] += 1
        self.wake_at: float | None = None

    def answers(self, instance: Instance) -> bool:
        """False for a while after an instance has not answered."""
        return self._silent_until.get(instance.id, self._now) <= self._now

    def has_room(self, pool: str, instances: Sequence[Instance]) -> bool:
        """Could one of these, or another of the pool while none of these answers, take what any could do?"""
        if instances and all(map(self.answers, instances)):
            return any(instance.id in self._room for instance in instances)
        return self._free[pool] > 0

    def ask(self, check: Check, known: Known, urgency: int) -> bool:
        """Want this load done: now, or when its next try is due. Whether it is now."""
        result = known.get(check)
        if check in self._pending or (result and isinstance(result.outcome, LoadReport)):
            return False
        due = self._now if result is None else retry_at(result)
        due = max(due, self._silent_until.get(check.instance, due))
        if due > self._now:
            self.wake(due)
            return False
        self._asked[check] = min(urgency, self._asked.get(check, urgency))
        return True

    def ask_one(self, case: Case, wanted: OneOf) -> None:
        """Want one of equivalent loads done, not two at a time.

        Where the artifact itself failed it is tried again in its time; where a slot failed, on another one.
        """
        known = case.loads.known
        choices = self._choices(case, wanted)
        if not choices or _subject(choices[0]) in self._busy:
            return
        choice = min(choices, key=lambda check: (*_setbacks(check, known), check.instance not in self._room))
        if choice.instance not in self._room:
            self.wake(self._silent_until.get(choice.instance))
        elif self.ask(choice, known, wanted.urgency):
            self._room[choice.instance] -= 1
            if not self._room[choice.instance]:
                del self._room[choice.instance]
                self._free[self._pools[choice.instance]] -= 1

    def _choices(self, case: Case, wanted: OneOf) -> list[Check]:
        """On desired slots that answer; on any other of the pool while none of them does."""
        slots = [slot for slot in case.desired if self._is_answering(case, slot)] or self._others(case)
        if (
            not case.loads.known and len(slots) > 1
        ):  # where nothing was tried, one with room is as good as all
            slots = [slot for slot in slots if self._has_room_on(case, slot)][:1] or slots[:1]
        return case.checks_on(slots, wanted.reference, verify=wanted.verify)

    def _others(self, case: Case) -> list[str]:
        if case.pool not in self._answering:
            ready = case.fleet.all_ready(case.pool)
            self._answering[case.pool] = [slot for slot in ready if self._is_answering(case, slot)]
        desired = [slot for slot in case.desired if case.fleet.ready_instances(slot)]
        return self._answering[case.pool] or desired or case.fleet.all_ready(case.pool)

    def _is_answering(self, case: Case, slot: str) -> bool:
        instances = case.fleet.ready_instances(slot)
        return bool(instances) and all(map(self.answers, instances))

    def _has_room_on(self, case: Case, slot: str) -> bool:
        return any(instance.id in self._room for instance in case.fleet.ready_instances(slot))

    def wait_for_answers(self) -> None:
        """Plan again when the next silent instance is given another try."""
        self.wake(min((at for at in self._silent_until.values() if at > self._now), default=None))

    def wake(self, at: float | None) -> None:
        if at is not None and at > self._now:
            self.wake_at = at if self.wake_at is None else min(at, self.wake_at)

    def chosen(self, heats: Mapping[str, float]) -> tuple[Check, ...]:
        """Everything to ask, most urgent first, then the hottest models."""
        return tuple(
            sorted(
                self._asked,
                key=lambda c: (self._asked[c], -heats.get(c.model, 0.0), c.model, c.slot, c.instance),
            )
        )


def attempts(known: Known, check: Check) -> int:
    """How often in a row a load has failed."""
    result = known.get(check)
    return result.attempts if result and isinstance(result.outcome, CheckFailure) else 0


def _setbacks(check: Check, known: Known) -> tuple[bool, int]:
    result = known.get(check)
    if result is None or isinstance(result.outcome, LoadReport):
        return True, 0
    return result.outcome.transient, result.attempts


def _subject(check: Check) -> tuple[object, ...]:
    """The same for loads of which one is enough."""
    return check.uid, check.generation, check.refresh, check.reference, check.verify
