"""What a model's predictions cost, learnt from those it has made."""

from __future__ import annotations

import math

_SMOOTHING = 0.2
_BRIEF_SECONDS, _BRIEF_BYTES = 0.0002, 1024.0
_STEP = 2.0
"""No single prediction more than doubles what is expected: on a busy machine the kernel may suspend one."""


class Cost:
    """Smoothed time of a prediction and size of its body.

    A smaller body is expected to cost as much, for there are models that take their time whatever they are
    sent; a larger one in proportion more, even where it would not: it is then rather run in a thread.
    """

    __slots__ = ("_bytes", "_seconds")

    def __init__(self, *, brief: bool = False) -> None:
        """`brief`: a few rows are known to take no time."""
        self._seconds, self._bytes = (_BRIEF_SECONDS, _BRIEF_BYTES) if brief else (math.inf, 1.0)

    def estimate(self, body_bytes: int) -> float:
        """Seconds; infinite before the first prediction of a model that is not known to be brief."""
        return self._seconds * max(1.0, body_bytes / self._bytes)

    def record(self, body_bytes: int, seconds: float) -> None:
        known = self._seconds
        if known is math.inf:
            self._seconds, self._bytes = seconds, max(1.0, body_bytes)
            return
        self._seconds = known + _SMOOTHING * (min(seconds, _STEP * known) - known)
        self._bytes += _SMOOTHING * (max(1.0, body_bytes) - self._bytes)
