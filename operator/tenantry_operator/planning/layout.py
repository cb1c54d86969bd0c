"""Slices kept up from one plan to the next: only those that a changed entry is in are filled again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from tenantry_core.slices import Entry, slice_name
from tenantry_operator.planning.slicing import MAX_BITS, Slices, choose_bits, slice_index


class Layout:
    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._places: dict[str, tuple[int, int]] = {}
        """Index and bytes of each entry, by model key."""
        self._bytes = np.zeros(1 << MAX_BITS, dtype=np.int64)
        self._bits = 0
        self._groups: dict[str, dict[str, Entry]] = {}
        self._wanted: dict[str, tuple[Entry, ...]] = {}

    def update(
        self, changed: Mapping[str, Entry | None], written: Slices, count: int
    ) -> tuple[dict[str, tuple[Entry, ...]], frozenset[str]]:
        """Takes entries that are other ones now (None: gone), and how many there will be.

        Gives the slices to write, those first that have just changed, and those to delete once all of them
        stand.
        """
        for key, entry in changed.items():
            index, size = self._places.pop(key, (0, 0))
            self._bytes[index] -= size
            if entry is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = entry
                index, size = self._places[key] = slice_index(key), _size(entry)
                self._bytes[index] += size
        bits = choose_bits(max(count, len(self._entries)), self._bytes, written)
        if bits != self._bits:
            self._bits, self._groups, self._wanted = bits, {}, {}
        filled = self._fill(changed if self._wanted else self._entries)
        wanted = filled | self._wanted
        differing = {name: content for name, content in wanted.items() if written.get(name) != content}
        return differing, frozenset(written.keys() - wanted.keys())

    def _fill(self, keys: Iterable[str]) -> dict[str, tuple[Entry, ...]]:
        """Puts these into their slices, or out of them; gives the slices that there are, in that order."""
        names: dict[str, None] = {}
        for key in keys:
            name = slice_name(self._bits, key)
            names[name] = None
            group = self._groups.setdefault(name, {})
            if key in self._entries:
                group[key] = self._entries[key]
            else:
                group.pop(key, None)
        filled = {}
        for name in names:
            group = self._groups[name]
            if group:
                filled[name] = self._wanted[name] = tuple([group[key] for key in sorted(group)])
            else:
                del self._groups[name]
                self._wanted.pop(name, None)
        return filled


def _size(entry: Entry) -> int:
    """Bytes of JSON, whatever the revision is."""
    return len(msgspec.json.encode(entry))
