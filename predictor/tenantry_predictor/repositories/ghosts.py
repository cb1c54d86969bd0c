"""What is remembered of models that left memory: 24 bytes each, of the latest tens of thousands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tenantry_predictor.repositories.base import Key

_PLACES = 1 << 16


class Ghost(NamedTuple):
    """A model that left."""

    score: float
    rejected: bool
    """From the window; else from the bulk, to make room."""
    left_after: int
    """Bytes that have left the same way since."""


class Ghosts:
    """A table with one place for each hash: a later model takes the place of an earlier one."""

    def __init__(self) -> None:
        self._hashes = np.zeros(_PLACES, np.int64)
        self._scores = np.zeros(_PLACES)
        self._left_at = np.zeros(_PLACES, np.int64)
        """Bytes that had left with it, by the same way; negative: by way of the bulk. 0: an empty place."""
        self._rejected = 0
        self._displaced = 0

    def put(self, key: Key, score: float, size_bytes: int, *, rejected: bool) -> None:
        """Remember a model that leaves."""
        name = hash(key)
        place = name % _PLACES
        if rejected:
            self._rejected += size_bytes
        else:
            self._displaced += size_bytes
        self._hashes[place] = name
        self._scores[place] = score
        self._left_at[place] = self._rejected if rejected else -self._displaced

    def take(self, key: Key) -> Ghost | None:
        """What is remembered of a model, which is forgotten with it."""
        name = hash(key)
        place = name % _PLACES
        left_at = int(self._left_at[place])
        if not left_at or self._hashes[place] != name:
            return None
        self._left_at[place] = 0
        since = self._rejected - left_at if left_at > 0 else self._displaced + left_at
        return Ghost(float(self._scores[place]), left_at > 0, since)

    def scale(self, factor: float) -> None:
        """Multiply all scores."""
        self._scores *= factor
