"""Eviction by frequency: what saves the least load time per byte goes first.

Which tenants ask most changes slowly, so the bulk of the memory goes by decayed counts, and a model that
comes back finds its count again. Such an order is slow to see a burst: a user who begins to work asks for a
cold model many times. So a model that is loaded passes a window first, and leaves it for the bulk only if it
is worth more than what has to go for it (Einziger, Friedman, Manes: "TinyLFU", ACM Transactions on Storage,
2017). The window grows with each model that comes back soon after it was turned away there, and shrinks with
each that comes back soon after it made room in the bulk (Megiddo, Modha: "ARC", FAST 2003).
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping

from tenantry_predictor.repositories.base import Key
from tenantry_predictor.repositories.eviction import E, Policy, is_idle
from tenantry_predictor.repositories.ghosts import Ghost, Ghosts

_HALF_LIFE = 20
"""Requests per model in memory, after which a request counts half."""
_FEW = 50
"""Models: counts of fewer live as long as those of so many."""
_LEAST_WINDOW, _MOST_WINDOW = 0.01, 0.8
"""Of the budget."""
_STEP = 0.25
"""Of the mean size of models, by which one that comes back moves the window's bound."""
_SOON = 0.25
"""Of the budget: so many bytes may have left since, the same way."""
_LOAD_SECONDS = (0.001, 1.0)
"""A load counts as one within these: it may have had to wait for a store."""
_HEAVY = 1e150
"""A request's weight above which all scores are scaled down."""

_IN_WINDOW = math.inf
"""The rank of what is in the window."""


class LFU(Policy[E]):
    """Least frequently used, for its size and time of loading, out first.

    Instead of fading counts, the weight of a request grows (Cormode et al.: "Forward Decay", ICDE 2009). So
    what is not asked for keeps its place, a heap by what models were worth when last looked at is put right
    at its top alone, and a hit costs a sum and a product.
    """

    def __init__(self, entries: Mapping[Key, E], budget_bytes: int) -> None:
        self._entries = entries
        self._budget = budget_bytes
        self._weight = 1.0
        self._growth = 1.0
        self._condemned: dict[Key, None] = {}
        self._window: deque[tuple[Key, float]] = deque()
        """In the order of loads, each with its score then."""
        self._window_used = 0
        self._window_bytes = _LEAST_WINDOW * budget_bytes
        self._bulk: list[tuple[float, Key]] = []
        """A heap by rank. An item is void unless its model has that rank still."""
        self._bulk_used = 0
        self._ghosts = Ghosts()

    def touched(self, entry: E) -> None:
        weight = self._weight
        entry.score += weight
        if weight < _HEAVY:
            self._weight = weight * self._growth
        else:
            self._rescale(1 / weight)

    def added(self, entry: E) -> None:
        ghost = self._ghosts.take(entry.key)
        if ghost is not None:
            entry.score = ghost.score
            self._move_bound(ghost)
        self._growth = 2 ** (1 / (_HALF_LIFE * max(len(self._entries), _FEW)))
        self.touched(entry)
        self._enter_window(entry)
        self._fill_bulk()

    def keep(self, entry: E) -> None:
        """As half of the bulk is worth at least: that outlives the moment until it is routed."""
        self.touched(entry)
        sample = sorted(rank for rank, _ in self._bulk[:: len(self._bulk) // 32 + 1])
        if sample:
            entry.score = max(entry.score, sample[len(sample) // 2] / _saving(entry))

    def condemn(self, entry: E) -> None:
        entry.score = 0.0
        self._condemned[entry.key] = None

    def let_go(self, entry: E) -> None:
        if entry.score == 0.0:
            self._condemned[entry.key] = None
        if entry.rank is None:
            self._push(entry)

    def resized(self, entry: E, change_bytes: int) -> None:
        if entry.rank == _IN_WINDOW:
            self._window_used += change_bytes
        else:
            self._bulk_used += change_bytes

    def victims(self, excess_bytes: int, newcomer: E | None = None) -> list[E]:
        found: list[E] = []
        while excess_bytes > 0 and (chosen := self._choose(newcomer)):
            found += chosen
            excess_bytes -= sum(entry.size_bytes for entry in chosen)
        return found

    def _choose(self, newcomer: E | None) -> list[E]:
        """The next one, or some that go for the same model; none when all are in use or pinned."""
        condemned = self._next_condemned()
        if condemned is not None:
            return [condemned]
        for _ in range(len(self._window)):
            if self._window_used <= self._window_bytes:
                break
            candidate = self._leave_window()
            if candidate is not None and (losers := self._contest(*candidate, newcomer)):
                return losers
        least = self._pop()
        if least is not None:
            return [self._displace(least)]
        return self._any_of_window()

    def _contest(self, candidate: E, score_then: float, newcomer: E | None) -> list[E]:
        """Who goes for a model that leaves the window: what is worth less, or itself, or nobody."""
        weaker = [] if candidate.pinned else self._weaker(candidate)
        if weaker is not None:
            self._join_bulk(candidate)
            return [self._displace(entry) for entry in weaker]
        if (candidate.users and candidate is not newcomer) or candidate.score > score_then:
            self._enter_window(candidate)
            return []
        return [self._reject(candidate)]

    def _weaker(self, candidate: E) -> list[E] | None:
        """What the bulk has to give up for it; None if it would lose what is worth more."""
        lacking = self._lacking(candidate)
        worth = _worth(candidate)
        weaker: list[E] = []
        while lacking > 0:
            least = self._pop(below=worth)
            if least is None:
                for entry in weaker:
                    self._push(entry)
                return None
            weaker.append(least)
            lacking -= least.size_bytes
        return weaker

    def _lacking(self, candidate: E) -> float:
        return self._bulk_used + candidate.size_bytes - (self._budget - self._window_bytes)

    def _fill_bulk(self) -> None:
        """While there is room, models leave the window without a contest."""
        while self._window and self._window_used > self._window_bytes:
            entry = self._entries.get(self._window[0][0])
            if entry is not None and self._lacking(entry) > 0:
                return
            left = self._leave_window()
            if left is not None:
                self._join_bulk(left[0])

    def _enter_window(self, entry: E) -> None:
        entry.rank = _IN_WINDOW
        if len(self._window) > self._most_items():
            self._window = deque(item for item in self._window if self._is_at(item[0], _IN_WINDOW))
        self._window.append((entry.key, entry.score))
        self._window_used += entry.size_bytes

    def _leave_window(self) -> tuple[E, float] | None:
        """Its oldest, and the score that it came with; None if that was evicted meanwhile."""
        key, score_then = self._window.popleft()
        entry = self._entries.get(key)
        if entry is None or entry.rank != _IN_WINDOW:
            return None
        entry.rank = None
        self._window_used -= entry.size_bytes
        return entry, score_then

    def _any_of_window(self) -> list[E]:
        for _ in range(len(self._window)):
            left = self._leave_window()
            if left is None:
                continue
            if is_idle(left[0]):
                return [self._reject(left[0])]
            self._enter_window(left[0])
        return []

    def _next_condemned(self) -> E | None:
        while self._condemned:
            entry = self._entries.get(self._condemned.popitem()[0])
            if entry is not None and entry.score == 0.0 and is_idle(entry):
                if entry.rank == _IN_WINDOW:
                    self._window_used -= entry.size_bytes
                else:
                    self._bulk_used -= entry.size_bytes
                entry.rank = None
                return entry
        return None

    def _join_bulk(self, entry: E) -> None:
        self._bulk_used += entry.size_bytes
        self._push(entry)

    def _push(self, entry: E) -> None:
        entry.rank = _worth(entry)
        if len(self._bulk) > self._most_items():
            self._bulk = [item for item in self._bulk if self._is_at(item[1], item[0])]
            heapq.heapify(self._bulk)
        heapq.heappush(self._bulk, (entry.rank, entry.key))

    def _most_items(self) -> int:
        """Of an order: what is condemned leaves its item there."""
        return 2 * len(self._entries) + _FEW

    def _is_at(self, key: Key, rank: float) -> bool:
        entry = self._entries.get(key)
        return entry is not None and entry.rank == rank

    def _pop(self, below: float = math.inf) -> E | None:
        """The least worth of the bulk; what is in use or pinned is out of the order until it is let go."""
        bulk = self._bulk
        while bulk and bulk[0][0] < below:
            rank, key = bulk[0]
            entry = self._entries.get(key)
            if entry is None or entry.rank != rank:
                heapq.heappop(bulk)
            elif (worth := _worth(entry)) > rank:
                entry.rank = worth
                heapq.heapreplace(bulk, (worth, key))
            else:
                heapq.heappop(bulk)
                entry.rank = None
                if is_idle(entry):
                    return entry
        return None

    def _displace(self, entry: E) -> E:
        self._bulk_used -= entry.size_bytes
        self._ghosts.put(entry.key, entry.score, entry.size_bytes, rejected=False)
        return entry

    def _reject(self, entry: E) -> E:
        self._ghosts.put(entry.key, entry.score, entry.size_bytes, rejected=True)
        return entry

    def _move_bound(self, ghost: Ghost) -> None:
        """Each by as much, whatever its size: loads are to be few."""
        if ghost.left_after < _SOON * self._budget:
            step = _STEP * (self._window_used + self._bulk_used) / len(self._entries)
            bound = self._window_bytes + (step if ghost.rejected else -step)
            self._window_bytes = min(max(bound, _LEAST_WINDOW * self._budget), _MOST_WINDOW * self._budget)

    def _rescale(self, factor: float) -> None:
        """Once in some hundred half-lives: the order stays as it is."""
        self._weight = 1.0
        self._ghosts.scale(factor)
        for entry in self._entries.values():
            entry.score *= factor
            if entry.rank is not None:
                entry.rank *= factor
        self._bulk = [(rank * factor, key) for rank, key in self._bulk]
        self._window = deque((key, score * factor) for key, score in self._window)


def _saving(entry: E) -> float:
    """Seconds of loading per byte that a request for it saves when it is warm."""
    least, most = _LOAD_SECONDS
    return min(max(entry.load_seconds, least), most) / entry.size_bytes


def _worth(entry: E) -> float:
    return entry.score * _saving(entry)
