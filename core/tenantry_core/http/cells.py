"""Numbers in memory that all worker processes of a server share, so that any of them can add them up.

Each worker writes its own region only, so nothing is locked; the successor of a worker that died goes on
with its region, so a counter never falls. A region is a table of keys (lines of JSON, appended) and, in the
same order, a table of doubles.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import msgspec

VARIABLE = "TENANTRY_WORKER_CELLS"
"""Names the memory that a worker inherits: file descriptor, its own region, number of regions."""

_KEY_BYTES = 512 * 1024
_CELL_COUNT = 64 * 1024
_REGION_BYTES = _KEY_BYTES + _CELL_COUNT * 8
_FIRST_CELL = 128
"""Cell 0 holds the length of the keys; what no longer fits is written to the cells from 1 on, unread."""
_OVERFLOW = 1

Key = tuple[str, tuple[str, ...]]
"""A metric's name and its label values."""


def allocate(regions: int) -> int:
    """Memory for so many workers, as a file descriptor to pass on; it vanishes with its last process."""
    descriptor = os.memfd_create("tenantry-cells", 0)
    os.ftruncate(descriptor, regions * _REGION_BYTES)
    return descriptor


class Cells:
    """The regions of all workers; this process writes to one of them."""

    def __init__(self, memory: mmap.mmap, own: int, regions: int) -> None:
        self._memory = memory
        self._regions = regions
        self._own_keys = own * _REGION_BYTES
        self.values = self._doubles(own)
        """This process's numbers: `values[i] += n` is all that counting takes."""
        self._next = _FIRST_CELL
        self._indices: dict[Key, int] = {}
        for key, width in self._keys(own):  # what a worker that died has left
            self._indices[key] = self._next
            self._next += width

    @classmethod
    def open(cls) -> Cells:
        """The memory that the parent process has passed on, else memory of this process alone."""
        inherited = os.environ.get(VARIABLE)
        if inherited is None:
            return cls(mmap.mmap(-1, _REGION_BYTES), 0, 1)
        descriptor, own, regions = (int(part) for part in inherited.split(":"))
        return cls(mmap.mmap(descriptor, regions * _REGION_BYTES), own, regions)

    def index(self, key: Key, width: int) -> int:
        """The first of `width` (< 127) cells for `key` in `values`; the same for every call."""
        known = self._indices.get(key)
        if known is not None:
            return known
        line = msgspec.json.encode((key, width)) + b"\n"
        used = int(self.values[0])
        if used + len(line) > _KEY_BYTES or self._next + width > _CELL_COUNT:
            return _OVERFLOW
        start = self._own_keys + used
        self._memory[start : start + len(line)] = line
        self.values[0] = used + len(line)  # only now can others see the key
        index = self._indices[key] = self._next
        self._next += width
        return index

    def totals(self) -> dict[Key, list[float]]:
        """Every key's cells, added up over all workers."""
        totals: dict[Key, list[float]] = {}
        for region in range(self._regions):
            values = self._doubles(region)
            position = _FIRST_CELL
            for key, width in self._keys(region):
                sums = totals.setdefault(key, [0.0] * width)
                for offset in range(width):
                    sums[offset] += values[position + offset]
                position += width
        return totals

    def _doubles(self, region: int) -> memoryview[float]:
        start = region * _REGION_BYTES + _KEY_BYTES
        return memoryview(self._memory)[start : start + _CELL_COUNT * 8].cast("d")

    def _keys(self, region: int) -> Iterator[tuple[Key, int]]:
        start = region * _REGION_BYTES
        used = int(self._doubles(region)[0])
        for line in self._memory[start : start + used].splitlines():
            yield msgspec.json.decode(line, type=tuple[Key, int])
