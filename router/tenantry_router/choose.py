"""Which slot answers: rendezvous hashing with a bound on load, and what to try when slots fail."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from tenantry_router.fleet import Slot, SlotPool
from tenantry_router.model import RoutedTarget

LOAD_BOUND = 1.25
"""A slot takes no more than this times the mean of the placement (Mirrokni, Thorup and Zadimoghaddam)."""
ALWAYS_ALLOWED = 4
"""Requests in flight below which a slot counts as idle whatever the mean is: so few cost nobody a wait."""

PRIMARY = "primary"
LEAST_LOADED = "least-loaded"
OVERLOAD = "overload"
FAILOVER = "failover"
LAST_RESORT = "last-resort"

_NOBODY: frozenset[str] = frozenset()
_NO_POOL = SlotPool({})


class Choice(NamedTuple):
    slot: Slot
    reason: str
    """`primary`: first by hash; `least-loaded`: no user to hash; `overload`: those before it are above the
    load bound; `failover`: those before it are not ready, ejected or have been tried; `last-resort`: none of
    the pool's slots is known to be well."""


def choose(
    target: RoutedTarget,
    pool: SlotPool | None,
    order: Sequence[str] | None,
    key: int,
    tried: Collection[str] = _NOBODY,
) -> Choice | None:
    """The slot for a request, or None when no slot is left.

    `order` is the placement as it ranks for the user, None without a user; `key` ranks the rest of the pool;
    `tried` are slots that have failed this very request.
    """
    pool = pool or _NO_POOL
    slots = pool.slots
    choice = _least_loaded(target, pool, tried) if order is None else _by_hash(order, slots, tried)
    return choice or _beyond_placement(target, pool, key, tried)


def candidates(
    target: RoutedTarget, pool: SlotPool | None, order: Sequence[str] | None, key: int
) -> Iterator[Choice]:
    """All slots in the order in which failures would lead to them, were nothing else to change."""
    tried: set[str] = set()
    while (choice := choose(target, pool, order, key, tried)) is not None:
        yield choice
        tried.add(choice.slot.name)


def _by_hash(order: Sequence[str], slots: Mapping[str, Slot], tried: Collection[str]) -> Choice | None:
    first = slots.get(order[0])
    if first is not None and first.ready and not first.ejected and not tried:
        load = first.upstream.in_flight
        if load < ALWAYS_ALLOWED or load < _limit(order, slots):
            return Choice(first, PRIMARY)
    usable = _usable(order, slots, tried)
    if not usable:
        return None
    loads = [slot.upstream.in_flight for slot in usable]
    limit = max(ALWAYS_ALLOWED, LOAD_BOUND * (1 + sum(loads)) / len(loads))
    chosen = next(slot for slot, load in zip(usable, loads, strict=True) if load < limit)
    if chosen is not usable[0]:
        return Choice(chosen, OVERLOAD)
    return Choice(chosen, PRIMARY if chosen.name == order[0] else FAILOVER)


def _limit(order: Sequence[str], slots: Mapping[str, Slot]) -> float:
    """The bound on the load of the slots that are usable, of which there is one."""
    count, total = 0, 1
    for name in order:
        slot = slots.get(name)
        if slot is not None and slot.ready and not slot.ejected:
            count += 1
            total += slot.upstream.in_flight
    return LOAD_BOUND * total / count


def _least_loaded(target: RoutedTarget, pool: SlotPool, tried: Collection[str]) -> Choice | None:
    """Of slots that are equally busy, the one that was sent the least, whatever it was and whosever.

    So what can go anywhere fills up what cannot, and a pool's load is more even than its placement.
    """
    usable = _usable(target.slots, pool.slots, tried)
    if not usable:
        return None
    chosen = min(usable, key=lambda slot: (slot.upstream.in_flight, slot.sent))
    return Choice(chosen, FAILOVER if tried else LEAST_LOADED)


def _beyond_placement(
    target: RoutedTarget, pool: SlotPool, key: int, tried: Collection[str]
) -> Choice | None:
    """Any predictor can serve any model: warmth is lost, not the answer."""
    order = pool.ranking.order(key)
    others = _usable(order, pool.slots, tried)
    if others:
        return Choice(others[0], FAILOVER)
    for name in chain(target.ranking.order(key), order):
        slot = pool.slots.get(name)
        if slot is not None and name not in tried:
            return Choice(slot, LAST_RESORT)
    return None


def _usable(names: Iterable[str], slots: Mapping[str, Slot], tried: Collection[str]) -> list[Slot]:
    found = [slots[name] for name in names if name in slots and name not in tried]
    return [slot for slot in found if slot.ready and not slot.ejected]
