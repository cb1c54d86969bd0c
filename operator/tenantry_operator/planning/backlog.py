"""Which models a plan decides about: what has just changed before what waits, and of that a portion."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from tenantry_operator.planning.slicing import slice_index

UNSERVED, SERVED, WRITTEN = range(3)
"""Ranks of what waits: what is not served yet, or not as it should be; what was never looked at, but serves
where it should; what was just written as it was decided, which seldom asks for more."""


Waiting = tuple[int, int, str]
"""Rank, place among the slices and key."""

_FEW = 1000


class Backlog:
    """Models wait by rank, and within one by slice, so that slices are completed one after the other."""

    def __init__(self) -> None:
        self._ranks: dict[str, int] = {}
        """What this does not confirm counts no more."""
        self._queue: list[Waiting] = []
        """In order, the next at the end."""
        self._late: list[Waiting] = []
        """A heap of a few that came since."""

    def __len__(self) -> int:
        return len(self._ranks)

    def put(self, key: str, rank: int) -> None:
        """It waits, at its most urgent rank so far."""
        if rank < self._ranks.get(key, WRITTEN + 1):
            self._ranks[key] = rank
            self._late.append((rank, slice_index(key), key))

    def drop(self, key: str) -> None:
        self._ranks.pop(key, None)

    def take(self, first: Iterable[str], portion: float) -> list[str]:
        """These, and a portion of what waits."""
        taken = sorted(first)
        for key in taken:
            self.drop(key)
        self._arrange()
        end = len(taken) + portion
        while len(taken) < end and (self._queue or self._late):
            rank, _, key = self._pop()
            if self._ranks.get(key) == rank:
                self.drop(key)
                taken.append(key)
        return taken

    def _arrange(self) -> None:
        if len(self._late) > _FEW:
            self._queue = sorted(self._queue + self._late, reverse=True)
            self._late = []
        heapq.heapify(self._late)

    def _pop(self) -> Waiting:
        late = bool(self._late) and (not self._queue or self._late[0] < self._queue[-1])
        return heapq.heappop(self._late) if late else self._queue.pop()
