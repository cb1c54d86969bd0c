"""The slots as the planner sees them: who may hold models, who still answers, who has gone for good."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from tenantry_core.resources import PredictorPool
from tenantry_operator.planning.world import Instance, Slot, World

GRACE = 30.0
"""Seconds that a slot without a ready instance keeps its share."""
DRAIN_IDLE = 3.0
"""Seconds without a request after which a leaving slot that holds nothing more may go."""
DRAIN_LIMIT = 30.0
"""Seconds after which a leaving slot that holds nothing more goes in any case."""
LEAVE_LIMIT = 300.0
"""Seconds after which a leaving slot goes although its models could not be warmed elsewhere."""


class Fleet:
    """Answers about slots; worked out once for a plan, by `update`."""

    def __init__(self) -> None:
        self._now = 0.0
        self._slots: Mapping[str, Slot] = {}
        self._idle_since: Mapping[str, float] = {}
        self._routed: Container[str] = ()
        self.members: dict[str, tuple[str, ...]] = {}
        """The slots of each pool that models may be placed on, sorted."""
        self._ready: dict[str, tuple[Instance, ...]] = {}
        self._alive: frozenset[str] = frozenset()
        self._all_ready: dict[str, list[str]] = {}

    def update(self, world: World, routed: Container[str]) -> set[str]:
        """Takes the slots as they are now, and which of them are routed to; gives those that changed.

        A pool's name stands among them for all its slots: whether any of them answers has changed.
        """
        ready, alive, answering = self._ready, self._alive, self._all_ready
        self._now, self._slots, self._idle_since = world.now, world.slots, world.idle_since
        self._routed = routed
        self._ready = {name: _ready_instances(slot) for name, slot in world.slots.items()}
        self._alive = frozenset(name for name, slot in world.slots.items() if self._is_alive(slot))
        self.members = {name: self._members(pool) for name, pool in world.pools.items()}
        pools = world.pools.keys() | {slot.pool for slot in world.slots.values()}
        self._all_ready = {name: self._answering(name) for name in pools}
        slots = ready.keys() | self._ready.keys()
        changed = {name for name in slots if ready.get(name, ()) != self._ready.get(name, ())}
        flipped = {
            name
            for name in answering.keys() | pools
            if bool(answering.get(name)) != bool(self._all_ready.get(name))
        }
        return changed | (alive ^ self._alive) | flipped

    def ready_instances(self, slot: str) -> tuple[Instance, ...]:
        return self._ready.get(slot, ())

    def all_ready(self, pool: str) -> list[str]:
        """Slots of the pool that answer, members first."""
        return self._all_ready.get(pool, [])

    def alive(self, name: str) -> bool:
        """May models stay routed to it: it answers, or it may be back within the grace."""
        return name in self._alive

    def running(self, pool: PredictorPool) -> tuple[str, ...]:
        """The slots that must run: those asked for, and those that leave but are not drained yet."""
        asked = pool.slot_names()
        leaving = sorted(n for n, s in self._slots.items() if s.pool == pool.name and n not in asked)
        return asked + tuple(name for name in leaving if not self._drained(self._slots[name]))

    def wake_at(self) -> float | None:
        """When the next grace time ends."""
        ends = [end for slot in self._slots.values() for end in self._ends(slot) if end > self._now]
        return min(ends, default=None)

    def _is_alive(self, slot: Slot) -> bool:
        if slot.leaving_since is not None:
            return slot.ready and self._now < slot.leaving_since + LEAVE_LIMIT
        return slot.ready or self._within_grace(slot)

    def _answering(self, pool: str) -> list[str]:
        members = frozenset(self.members.get(pool, ()))
        ready = [name for name, slot in self._slots.items() if slot.pool == pool and self._ready[name]]
        return sorted(ready, key=lambda name: (name not in members, name))

    def _members(self, pool: PredictorPool) -> tuple[str, ...]:
        """Ready slots, and lost ones that keep their share for a while; all of them while none is there."""
        asked = [name for name in pool.slot_names() if name in self._slots]
        there = [name for name in asked if self._slots[name].ready or self._keeps_share(self._slots[name])]
        return tuple(sorted(there or pool.slot_names()))

    def _keeps_share(self, slot: Slot) -> bool:
        return slot.name in self._routed and self._within_grace(slot)

    def _within_grace(self, slot: Slot) -> bool:
        return slot.lost_since is not None and self._now < slot.lost_since + GRACE

    def _drained(self, slot: Slot) -> bool:
        since = self._now if slot.leaving_since is None else slot.leaving_since
        if not slot.ready or self._now >= since + LEAVE_LIMIT:
            return True
        if slot.name in self._routed:
            return False
        idle = self._idle_since.get(slot.name, self._now)
        return self._now >= max(idle, since) + DRAIN_IDLE or self._now >= since + DRAIN_LIMIT

    def _ends(self, slot: Slot) -> Iterable[float]:
        if slot.lost_since is not None:
            yield slot.lost_since + GRACE
        if slot.leaving_since is not None:
            yield slot.leaving_since + DRAIN_LIMIT
            yield slot.leaving_since + LEAVE_LIMIT
            if slot.name in self._idle_since:
                yield max(self._idle_since[slot.name], slot.leaving_since) + DRAIN_IDLE


def _ready_instances(slot: Slot) -> tuple[Instance, ...]:
    return tuple(i for i in slot.instances if i.ready and not i.terminating)


def instance_index(slots: Mapping[str, Slot]) -> dict[str, Instance]:
    """Every instance by its id."""
    return {i.id: i for slot in slots.values() for i in slot.instances}
