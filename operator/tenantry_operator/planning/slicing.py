"""Entries -> PlacementSlices: small, stable, and at every moment of a change none is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from tenantry_core.hashing import hash_name
from tenantry_core.slices import Entry, slice_bits

ENTRIES = 100
"""A slice holds about this many entries: a change rewrites one slice, a router decodes one."""
BYTES = 400_000
"""And at most about this many bytes of JSON; an object in etcd is limited to 1.5 MB."""
SHRINK = 0.4
"""Slices are only merged when the merged ones would be this full, so that they do not swing."""
MAX_BITS = 16

Slices = Mapping[str, tuple[Entry, ...]]
Sizes = npt.NDArray[np.int64]


def revise(entry: Entry, written: Entry | None, highest: int) -> Entry:
    """An entry as it is written, if it says the same; else with a revision above every one seen."""
    if written is None or entry != msgspec.structs.replace(written, revision=entry.revision):
        return msgspec.structs.replace(entry, revision=highest + 1)
    return written


def choose_bits(count: int, sizes: Sizes, written: Iterable[str]) -> int:
    """As many bits as are written, unless slices would be too full or too empty.

    `sizes` are bytes of JSON by what `slice_index` gives.
    """
    bits = max((slice_bits(name) for name in written), default=0)
    while bits < MAX_BITS and _fullness(count, sizes, bits) > 1:
        bits += 1
    while bits > 0 and _fullness(count, sizes, bits - 1) < SHRINK:
        bits -= 1
    return bits


def slice_index(key: str) -> int:
    """The leading bits of the key's hash, as many as a slice's name may ever hold."""
    return hash_name(key) >> (64 - MAX_BITS)


def _fullness(count: int, sizes: Sizes, bits: int) -> float:
    """How full slices of so many bits are: by number on average, by bytes the fullest."""
    fullest = int(sizes.reshape(1 << bits, -1).sum(axis=1).max())
    return max(count / (ENTRIES << bits), fullest / BYTES)
