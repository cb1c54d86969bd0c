"""Entries -> PlacementSlices: small, stable, and at every moment of a change none is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tenantry_core.slices import Entry, slice_bits, slice_name

ENTRIES = 100
"""A slice holds about this many entries: a change rewrites one slice, a router decodes one."""
BYTES = 400_000
"""And at most about this many bytes of JSON; an object in etcd is limited to 1.5 MB."""
SHRINK = 0.4
"""Slices are only merged when the merged ones would be this full, so that they do not swing."""
_MAX_BITS = 16

Slices = Mapping[str, tuple[Entry, ...]]


def revise(entries: Iterable[Entry], written: Mapping[str, Entry], highest: int) -> dict[str, Entry]:
    """Entries by model: unchanged ones as written, changed ones with a revision above every one seen."""
    revised = {}
    for entry in entries:
        before = written.get(entry.model)
        if before is None or entry != msgspec.structs.replace(before, revision=entry.revision):
            revised[entry.model] = msgspec.structs.replace(entry, revision=highest + 1)
        else:
            revised[entry.model] = before
    return revised


def lay_out(
    entries: Mapping[str, Entry], written: Slices
) -> tuple[dict[str, tuple[Entry, ...]], frozenset[str]]:
    """The slices to write, and those to delete once all of them stand."""
    wanted = _fill(entries.values(), _choose_bits(entries.values(), written))
    changed = {name: content for name, content in wanted.items() if written.get(name) != content}
    return changed, frozenset(written.keys() - wanted.keys())


def _choose_bits(entries: Iterable[Entry], written: Slices) -> int:
    """As many bits as are written, unless slices would be too full or too empty."""
    sizes = [(slice_index(entry.model), len(msgspec.json.encode(entry))) for entry in entries]
    bits = max((slice_bits(name) for name in written), default=0)
    while bits < _MAX_BITS and _fullness(sizes, bits) > 1:
        bits += 1
    while bits > 0 and _fullness(sizes, bits - 1) < SHRINK:
        bits -= 1
    return bits


def slice_index(key: str) -> int:
    """The leading bits of the key's hash, as many as a slice's name may ever hold."""
    return int(slice_name(_MAX_BITS, key).rpartition("-")[2])


def _fullness(sizes: list[tuple[int, int]], bits: int) -> float:
    """How full slices of so many bits are: by number on average, by bytes the fullest."""
    totals: dict[int, int] = {}
    for index, size in sizes:
        group = index >> (_MAX_BITS - bits)
        totals[group] = totals.get(group, 0) + size
    return max(len(sizes) / (ENTRIES << bits), max(totals.values(), default=0) / BYTES)


def _fill(entries: Iterable[Entry], bits: int) -> dict[str, tuple[Entry, ...]]:
    groups: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda e: e.model):
        groups.setdefault(slice_name(bits, entry.model), []).append(entry)
    return {name: tuple(group) for name, group in groups.items()}
