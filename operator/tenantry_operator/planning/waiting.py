"""Models that want one slot or another to look at a version, by the slots that they are placed on."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable

_FEW = 100


class SortedKeys:
    """Keys in order, cheap to keep up by a few and by very many."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._sorted: list[str] = []
        self._changed: set[str] = set()

    def put(self, key: str) -> None:
        if key not in self._keys:
            self._keys.add(key)
            self._changed.add(key)

    def drop(self, key: str) -> None:
        if key in self._keys:
            self._keys.remove(key)
            self._changed.add(key)

    def __len__(self) -> int:
        return len(self._keys)

    def in_order(self) -> list[str]:
        if len(self._changed) > _FEW:
            self._sorted = sorted(self._keys)
        else:
            for key in self._changed:
                at = bisect_left(self._sorted, key)
                known = at < len(self._sorted) and self._sorted[at] == key
                if known and key not in self._keys:
                    del self._sorted[at]
                elif not known and key in self._keys:
                    insort(self._sorted, key)
        self._changed.clear()
        return self._sorted


class Waiting:
    def __init__(self) -> None:
        self._by_slot: dict[str, SortedKeys] = {}
        self._slots: dict[str, Collection[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._slots)

    def put(self, key: str, slots: Collection[str]) -> None:
        """It waits, on these slots; on a nameless one where it is placed on none."""
        slots = slots or ("",)
        known = self._slots.get(key)
        if known != slots:
            if known is not None:
                self.drop(key)
            self._slots[key] = slots
            for slot in slots:
                if slot not in self._by_slot:
                    self._by_slot[slot] = SortedKeys()
                self._by_slot[slot].put(key)

    def drop(self, key: str) -> None:
        for slot in self._slots.pop(key, ()):
            self._by_slot[slot].drop(key)
            if not self._by_slot[slot]:
                del self._by_slot[slot]

    def queues(self) -> Iterable[tuple[str, list[str]]]:
        """Each slot with the models that wait on it, all in order."""
        for slot in sorted(self._by_slot):
            yield slot, self._by_slot[slot].in_order()
