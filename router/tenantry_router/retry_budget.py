"""How many retries are affordable: a share of the requests, so that retries never feed an overload."""

from __future__ import annotations

SHARE = 0.2
MINIMUM = 100
"""Retries that are always allowed within a window."""
WINDOW = 10
"""Seconds."""


class RetryBudget:
    """Counts requests and retries of the last ten seconds, a bucket a second."""

    __slots__ = ("_requests", "_retries", "_second")

    def __init__(self) -> None:
        self._requests = [0] * WINDOW
        self._retries = [0] * WINDOW
        self._second = 0

    def record(self, now: float) -> None:
        """A request has come in. `now` is any steady clock, in seconds."""
        second = int(now)
        if second != self._second:
            self._advance(second)
        self._requests[second % WINDOW] += 1

    def take(self, now: float) -> bool:
        """Whether one more retry is affordable; if so it is counted."""
        second = int(now)
        self._advance(second)
        if sum(self._retries) >= max(MINIMUM, SHARE * sum(self._requests)):
            return False
        self._retries[second % WINDOW] += 1
        return True

    def _advance(self, second: int) -> None:
        """Forget the seconds that have left the window."""
        for passed in range(max(self._second, second - WINDOW) + 1, second + 1):
            self._requests[passed % WINDOW] = 0
            self._retries[passed % WINDOW] = 0
        self._second = max(self._second, second)
