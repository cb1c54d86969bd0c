"""The order of a fixed set of slots for a key: the same as `tenantry_core.hashing.rank`, prepared once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tenantry_core.hashing import hash_name

_VECTORISE_FROM = 12
"""From so many slots on numpy is faster than a Python loop."""
_MASK = 0xFFFF_FFFF_FFFF_FFFF


class Ranking:
    """Slots whose hashes are memoised."""

    __slots__ = ("_array", "_hashes", "slots")

    def __init__(self, slots: Sequence[str]) -> None:
        # By name, so that a stable sort leaves slots of equal score in the order of their names.
        self.slots = tuple(sorted(slots))
        self._hashes = tuple(hash_name(slot) for slot in self.slots)
        self._array = np.array(self._hashes if len(slots) >= _VECTORISE_FROM else (), dtype=np.uint64)

    def order(self, key: int) -> Sequence[str]:
        """Slots from the highest score for `key` to the lowest; equal scores by name."""
        if len(self.slots) < 2:
            return self.slots
        if len(self.slots) < _VECTORISE_FROM:
            scores = self._scores(key)
            if len(scores) == 2:
                return self.slots if scores[0] >= scores[1] else self.slots[::-1]
            ranks = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        else:
            ranks = np.argsort(~self._vector_scores(key), kind="stable").tolist()
        return [self.slots[rank] for rank in ranks]

    def _scores(self, key: int) -> list[int]:
        # splitmix64, written out: a call per slot would double the time.
        scores = []
        for slot_hash in self._hashes:
            value = ((key ^ slot_hash) + 0x9E37_79B9_7F4A_7C15) & _MASK
            value = ((value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
            value = ((value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
            scores.append(value ^ (value >> 31))
        return scores

    def _vector_scores(self, key: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        value = (self._array ^ np.uint64(key)) + np.uint64(0x9E37_79B9_7F4A_7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
        return value ^ (value >> np.uint64(31))
