"""One timer for the deadlines of all connections, instead of one per request."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tenantry_core.http.limits import Limits

_LONGEST_INTERVAL = 1.0


class Expiring(Protocol):
    """Something with deadlines."""

    def expire(self, now: float) -> None:
        """Act on the deadlines that have passed at the loop's time `now`."""
        ...


class Sweeper:
    """Asks its members once per interval; the timer runs only while there are members."""

    def __init__(self, limits: Limits) -> None:
        timeouts = (limits.header_timeout, limits.body_timeout, limits.idle_timeout, limits.write_timeout)
        self._interval = min(_LONGEST_INTERVAL, min(timeouts) / 4)
        self._members: set[Expiring] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Expiring, loop: asyncio.AbstractEventLoop) -> None:
        """Include `member` from now on."""
        self._members.add(member)
        if self._timer is None:
            self._timer = loop.call_later(self._interval, self._sweep, loop)

    def discard(self, member: Expiring) -> None:
        """Leave `member` out from now on."""
        self._members.discard(member)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for member in tuple(self._members):
            member.expire(now)
        if self._members:
            self._timer = loop.call_later(self._interval, self._sweep, loop)
