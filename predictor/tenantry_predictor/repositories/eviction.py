"""Which model leaves memory when room is needed: what a policy is asked, and the plainest of policies."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol, TypeVar

from tenantry_predictor.repositories.base import Key


class Evictable(Protocol):
    """What a policy knows of a model in memory. `score` and `rank` are the policy's own."""

    key: Key
    size_bytes: int
    load_seconds: float
    """That the next load of it would take."""
    users: int
    score: float
    """How often it is asked for, as the policy counts."""
    rank: float | None
    """Where it stands in the policy's order; None: nowhere."""

    @property
    def pinned(self) -> bool: ...


E = TypeVar("E", bound=Evictable)


class Policy(Protocol[E]):
    """Asked by the tier whose entries it is made with; O(log n) at most, in the mean."""

    def touched(self, entry: E) -> None:
        """It is asked for: the one call that every warm request makes."""

    def added(self, entry: E) -> None:
        """It is in the tier now, and asked for."""

    def keep(self, entry: E) -> None:
        """It was loaded on purpose: others go first until it is asked for."""

    def condemn(self, entry: E) -> None:
        """It goes first, unless it is asked for again."""

    def let_go(self, entry: E) -> None:
        """It is no longer in use, or no longer pinned."""

    def resized(self, entry: E, change_bytes: int) -> None:
        """Its model takes more or fewer bytes now."""

    def victims(self, excess_bytes: int, newcomer: E | None = None) -> list[E]:
        """Leave the tier now: as many as it takes of what is neither in use nor pinned, or all there are.

        The newcomer may be among them, though it is in use: then it is not admitted.
        """


def is_idle(entry: Evictable) -> bool:
    """Whether it may be evicted."""
    return not entry.users and not entry.pinned


class LRU(Policy[E]):
    """Least recently used out first."""

    def __init__(self, entries: Mapping[Key, E]) -> None:
        self._entries = entries
        self._order: OrderedDict[Key, None] = OrderedDict()

    def touched(self, entry: E) -> None:
        self._order.move_to_end(entry.key)

    def added(self, entry: E) -> None:
        self._order[entry.key] = None

    def keep(self, entry: E) -> None:
        self.touched(entry)

    def condemn(self, entry: E) -> None:
        self._order.move_to_end(entry.key, last=False)

    def let_go(self, entry: E) -> None:
        """Its place is as it was."""

    def resized(self, entry: E, change_bytes: int) -> None:
        """The same."""

    def victims(self, excess_bytes: int, newcomer: E | None = None) -> list[E]:
        found: list[E] = []
        for key in self._order:
            if excess_bytes <= 0:
                break
            if is_idle(entry := self._entries[key]):
                found.append(entry)
                excess_bytes -= entry.size_bytes
        for entry in found:
            del self._order[entry.key]
        return found
