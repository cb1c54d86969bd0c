"""Rendezvous hashing (Thaler and Ravishankar, 1998) over stable slot names.

`score = splitmix64(xxh64(key) ^ xxh64(slot))`, highest first. The planner ranks slots for a model, the
router ranks a model's slots for a user; both use these functions, so two parts never disagree.
The finaliser is SplitMix64 (Steele, Lea and Flood, 2014).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import xxhash

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_BLOCK = 1 << 15
"""Scores worked out at a time: so many stay in a core's cache."""

U64Array = npt.NDArray[np.uint64]


def hash_name(name: str) -> int:
    """xxh64 of a slot's name or a model's key: 64 bits, unsigned."""
    return xxhash.xxh64_intdigest(name.encode())


def hash_user(tenant: str, user: str) -> int:
    """xxh64 of tenant NUL user: no pair of strings can collide by concatenation."""
    return xxhash.xxh64_intdigest(f"{tenant}\0{user}".encode())


def splitmix64(value: int) -> int:
    """The SplitMix64 output function of a 64-bit state."""
    value = (value + 0x9E37_79B9_7F4A_7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
    return value ^ (value >> 31)


def rank(key: int, slots: Iterable[str]) -> list[str]:
    """Slots from the highest score for `key` to the lowest; equal scores by name."""
    return sorted(slots, key=lambda slot: (-splitmix64(key ^ hash_name(slot)), slot))


def scores(keys: Sequence[int] | U64Array, slots: Sequence[str]) -> U64Array:
    """Scores of every key for every slot, as uint64 of shape (keys, slots)."""
    names = np.array([hash_name(slot) for slot in slots], dtype=np.uint64)
    hashes = np.asarray(keys, dtype=np.uint64)
    values: U64Array = np.empty((len(hashes), len(names)), dtype=np.uint64)
    rows = max(1, _BLOCK // max(1, len(names)))
    for start in range(0, len(hashes), rows):
        block = values[start : start + rows]
        np.bitwise_xor(hashes[start : start + rows, None], names, out=block)
        _finalise(block)
    return values


def _finalise(values: U64Array) -> None:
    """SplitMix64's output function, in place."""
    shifted = np.empty_like(values)
    values += np.uint64(0x9E37_79B9_7F4A_7C15)
    for shift, factor in ((30, 0xBF58_476D_1CE4_E5B9), (27, 0x94D0_49BB_1331_11EB)):
        values ^= np.right_shift(values, np.uint64(shift), out=shifted)
        values *= np.uint64(factor)
    values ^= np.right_shift(values, np.uint64(31), out=shifted)
