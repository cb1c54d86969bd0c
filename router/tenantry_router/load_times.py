"""How long cold models have been taking, so that `Retry-After` is an estimate and not a guess."""

from __future__ import annotations

import math

_WEIGHT = 0.1
_FIRST_GUESS = 1.0
_LONGEST = 60


class LoadTimes:
    """An exponentially weighted mean of the durations of requests that had to load their model."""

    __slots__ = ("mean",)

    def __init__(self) -> None:
        self.mean = _FIRST_GUESS
        """Seconds."""

    def observe(self, seconds: float) -> None:
        self.mean += _WEIGHT * (seconds - self.mean)

    def retry_after(self) -> int:
        """Whole seconds, at least one, after which a load that runs now has most likely ended."""
        return min(_LONGEST, max(1, math.ceil(2 * self.mean)))
