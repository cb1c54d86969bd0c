"""Reference implementations of eviction policies, to compare with: plain and short.

Each is made with a capacity and the sizes of all models, in one unit; `request` tells whether it was a hit.
Models of one size: all sizes 1. A model larger than the capacity is never kept.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Protocol

Sizes = Sequence[int]


class Policy(Protocol):
    """What a contender is."""

    def request(self, model: int) -> bool: ...


class LRU:
    """Least recently used out first."""

    def __init__(self, capacity: int, sizes: Sizes) -> None:
        self._free, self._sizes = capacity, sizes
        self._models: OrderedDict[int, None] = OrderedDict()

    def request(self, model: int) -> bool:
        if model in self._models:
            self._models.move_to_end(model)
            return True
        self._models[model] = None
        self._free -= self._sizes[model]
        while self._free < 0:
            self._free += self._sizes[self._models.popitem(last=False)[0]]
        return False


class SIEVE:
    """Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024: a queue, a bit each, a hand that stays put."""

    def __init__(self, capacity: int, sizes: Sizes) -> None:
        self._free, self._sizes = capacity, sizes
        self._visited: dict[int, bool] = {}
        self._newer: dict[int, int] = {}
        self._older: dict[int, int] = {}
        self._newest = self._oldest = self._hand = -1

    def request(self, model: int) -> bool:
        if model in self._visited:
            self._visited[model] = True
            return True
        self._free -= self._sizes[model]
        while self._free < 0 and self._visited:
            self._evict()
        self._visited[model] = False
        self._older[model], self._newer[model] = self._newest, -1
        if self._newest >= 0:
            self._newer[self._newest] = model
        else:
            self._oldest = model
        self._newest = model
        return False

    def _evict(self) -> None:
        hand = self._hand if self._hand >= 0 else self._oldest
        while self._visited[hand]:
            self._visited[hand] = False
            hand = self._newer[hand] if self._newer[hand] >= 0 else self._oldest
        newer, older = self._newer.pop(hand), self._older.pop(hand)
        if newer >= 0:
            self._older[newer] = older
        else:
            self._newest = older
        if older >= 0:
            self._newer[older] = newer
        else:
            self._oldest = newer
        self._hand = newer
        del self._visited[hand]
        self._free += self._sizes[hand]


class S3FIFO:
    """Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023; a tenth is the small one."""

    def __init__(self, capacity: int, sizes: Sizes) -> None:
        self._capacity, self._sizes = capacity, sizes
        self._uses: dict[int, int] = {}
        self._small: deque[int] = deque()
        self._main: deque[int] = deque()
        self._ghosts: OrderedDict[int, None] = OrderedDict()
        self._small_bytes = self._main_bytes = self._ghost_bytes = 0

    def request(self, model: int) -> bool:
        if model in self._uses:
            self._uses[model] = min(self._uses[model] + 1, 3)
            return True
        size = self._sizes[model]
        while self._small_bytes + self._main_bytes + size > self._capacity and self._uses:
            if self._small_bytes * 10 >= self._capacity or not self._main:
                self._evict_small()
            else:
                self._evict_main()
        if model in self._ghosts:
            del self._ghosts[model]
            self._ghost_bytes -= size
            self._to_main(model)
        else:
            self._small.append(model)
            self._small_bytes += size
        self._uses[model] = 0
        return False

    def _to_main(self, model: int) -> None:
        self._main.append(model)
        self._main_bytes += self._sizes[model]

    def _evict_small(self) -> None:
        model = self._small.popleft()
        size = self._sizes[model]
        self._small_bytes -= size
        if self._uses[model] > 1:
            self._uses[model] = 0
            self._to_main(model)
            return
        del self._uses[model]
        self._ghosts[model] = None
        self._ghost_bytes += size
        while self._ghost_bytes > self._capacity:
            self._ghost_bytes -= self._sizes[self._ghosts.popitem(last=False)[0]]

    def _evict_main(self) -> None:
        model = self._main.popleft()
        if self._uses[model]:
            self._uses[model] -= 1
            self._main.append(model)
            return
        del self._uses[model]
        self._main_bytes -= self._sizes[model]


class WTinyLFU:
    """Einziger, Friedman and Manes, "TinyLFU", ACM TOS 2017: window of 1 % and a segmented LRU that filters.

    Counts are exact instead of a sketch's, halved every ten times as many requests as models fit: no worse.
    """

    def __init__(self, capacity: int, sizes: Sizes) -> None:
        self._sizes = sizes
        self._window: OrderedDict[int, None] = OrderedDict()
        self._probation: OrderedDict[int, None] = OrderedDict()
        self._protected: OrderedDict[int, None] = OrderedDict()
        self._window_free = max(capacity // 100, 1)
        self._main_free = capacity - self._window_free
        self._protected_free = self._main_free * 4 // 5
        self._counts: Counter[int] = Counter()
        self._sample = 10 * capacity * len(sizes) // sum(sizes)
        self._counted = 0

    def request(self, model: int) -> bool:
        self._count(model)
        if model in self._window:
            self._window.move_to_end(model)
        elif model in self._protected:
            self._protected.move_to_end(model)
        elif model in self._probation:
            self._promote(model)
        else:
            self._add(model)
            return False
        return True

    def _count(self, model: int) -> None:
        self._counts[model] = min(self._counts[model] + 1, 15)
        self._counted += 1
        if self._counted >= self._sample:
            self._counts = Counter({model: n // 2 for model, n in self._counts.items() if n > 1})
            self._counted //= 2

    def _promote(self, model: int) -> None:
        del self._probation[model]
        self._protected[model] = None
        self._protected_free -= self._sizes[model]
        while self._protected_free < 0:
            demoted = self._protected.popitem(last=False)[0]
            self._protected_free += self._sizes[demoted]
            self._probation[demoted] = None

    def _add(self, model: int) -> None:
        self._window[model] = None
        self._window_free -= self._sizes[model]
        while self._window_free < 0:
            candidate = self._window.popitem(last=False)[0]
            self._window_free += self._sizes[candidate]
            self._admit(candidate)

    def _admit(self, candidate: int) -> None:
        """Past all that would have to go, or not at all."""
        victims, free = [], self._main_free - self._sizes[candidate]
        for victim in self._probation:
            if free >= 0:
                break
            if self._counts[victim] >= self._counts[candidate]:
                return
            victims.append(victim)
            free += self._sizes[victim]
        if free < 0:
            return
        for victim in victims:
            del self._probation[victim]
        self._main_free = free
        self._probation[candidate] = None


class Static:
    """The optimum of what never changes: models with the most requests a byte in the whole trace, pinned."""

    def __init__(self, capacity: int, sizes: Sizes, trace: Iterable[int]) -> None:
        counts = Counter(trace)
        self._pinned = set()
        for model in sorted(counts, key=lambda model: -counts[model] / sizes[model]):
            if sizes[model] <= capacity:
                capacity -= sizes[model]
                self._pinned.add(model)

    def request(self, model: int) -> bool:
        return model in self._pinned


class MIN:
    """Belady, 1966: out goes what is asked for last, and nothing comes in that is asked for later still.

    It knows the future. The optimum for models of one size; for others only a good one.
    """

    def __init__(self, capacity: int, sizes: Sizes, trace: Sequence[int]) -> None:
        self._free, self._sizes = capacity, sizes
        never = len(trace)
        upcoming: dict[int, int] = {}
        self._next = [0] * never
        for at in range(never - 1, -1, -1):
            self._next[at] = upcoming.get(trace[at], never)
            upcoming[trace[at]] = at
        self._at = 0
        self._due: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []

    def request(self, model: int) -> bool:
        hit = model in self._due
        due = self._due[model] = self._next[self._at]
        self._at += 1
        heapq.heappush(self._heap, (-due, model))
        if not hit:
            self._free -= self._sizes[model]
            while self._free < 0:
                self._evict()
        return hit

    def _evict(self) -> None:
        due, model = heapq.heappop(self._heap)
        if self._due.get(model) == -due:
            del self._due[model]
            self._free += self._sizes[model]
