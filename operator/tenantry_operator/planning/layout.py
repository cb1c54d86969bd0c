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
        self._groups: dict[int, dict[str, Entry]] = {}
        """The entries of each slice, by its number."""
        self._wanted: dict[str, tuple[Entry, ...]] = {}

    def update(
        self, changed: Mapping[str, Entry | None], written: Slices, count: int
    ) -> tuple[dict[str, tuple[Entry, ...]], frozenset[str]]:
        """Takes entries that are other ones now (None: gone), and how many there will be.

        Gives the slices to write, and those to delete once all of them stand.
        """
        indices = self._enter(changed)
        bits = choose_bits(max(count, len(self._entries)), self._bytes, written)
        if bits != self._bits:
            self._bits, self._groups, self._wanted = bits, {}, {}
        if not self._wanted:
            indices = {key: index for key, (index, _) in self._places.items()}
        wanted = self._fill(indices) | self._wanted
        differing = {name: content for name, content in wanted.items() if written.get(name) != content}
        return differing, frozenset(written.keys() - wanted.keys())

    def names(self, keys: Iterable[str]) -> set[str]:
        """The slices of these models."""
        return {slice_name(self._bits, key) for key in keys}

    def _enter(self, changed: Mapping[str, Entry | None]) -> dict[str, int]:
        """Gives the index of each."""
        indices, sizes = {}, []
        for key, entry in changed.items():
            place = self._places.pop(key, None)
            index, size = place if place is not None else (slice_index(key), 0)
            indices[key] = index
            if entry is None:
                self._entries.pop(key, None)
                sizes.append(-size)
            else:
                self._entries[key] = entry
                encoded = len(_ENCODER.encode(entry))
                self._places[key] = index, encoded
                sizes.append(encoded - size)
        np.add.at(self._bytes, list(indices.values()), sizes)
        return indices

    def _fill(self, indices: Mapping[str, int]) -> dict[str, tuple[Entry, ...]]:
        """Puts these into their slices, or out of them; gives the slices that there are, in that order."""
        shift = MAX_BITS - self._bits
        touched: dict[int, str] = {}
        for key, index in indices.items():
            number = index >> shift
            touched[number] = key
            group = self._groups.setdefault(number, {})
            entry = self._entries.get(key)
            if entry is not None:
                group[key] = entry
            else:
                group.pop(key, None)
        filled = {}
        for number, key in touched.items():
            group, name = self._groups[number], slice_name(self._bits, key)
            if group:
                filled[name] = self._wanted[name] = tuple([group[key] for key in sorted(group)])
            else:
                del self._groups[number]
                self._wanted.pop(name, None)
        return filled


_ENCODER = msgspec.json.Encoder()
