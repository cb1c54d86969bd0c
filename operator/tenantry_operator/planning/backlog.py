"""Which models a plan decides about: what has just changed before what waits, and of that a portion."""

from __future__ import annotations

import heapq
from collections.abc import Collection

from tenantry_operator.planning.slicing import slice_index

UNSERVED, SERVED, WRITTEN = range(3)
"""Ranks of what waits: what is not served yet, or not as it should be; what was never looked at, but serves
where it should; what was just written as it was decided, which seldom asks for more."""


class Backlog:
    """Models wait by rank, and within one by slice, so that slices are completed one after the other."""

    def __init__(self) -> None:
        self._ranks: dict[str, int] = {}
        self._queue: list[tuple[int, int, str]] = []
        """Rank, place among the slices and key; what `_ranks` does not confirm counts no more."""

    def __len__(self) -> int:
        return len(self._ranks)

    def put(self, key: str, rank: int) -> None:
        """It waits, at its most urgent rank so far."""
        if rank < self._ranks.get(key, WRITTEN + 1):
            self._ranks[key] = rank
            heapq.heappush(self._queue, (rank, slice_index(key), key))

    def drop(self, key: str) -> None:
        self._ranks.pop(key, None)

    def take(self, changed: Collection[str], portion: float) -> list[str]:
        """All of `changed`, unless that is more than a portion; then a portion of what waits."""
        taken = sorted(changed) if len(changed) <= portion else []
        for key in taken:
            self.drop(key)
        end = len(taken) + portion
        while self._queue and len(taken) < end:
            rank, _, key = heapq.heappop(self._queue)
            if self._ranks.get(key) == rank:
                self.drop(key)
                taken.append(key)
        return taken
