"""Writes that nobody waits for, statuses and events: at a bounded rate, and of each only the newest."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

from tenantry_operator.reconciling import metrics
from tenantry_operator.reconciling.actuator import ActuatorUnavailable, WriteConflict

RATE = 300.0
"""Writes a second; one client could do about 450, and slices must not queue behind these."""
BESIDE_SLICES = 20.0
"""The same while slices are planned or written: a hundred thousand statuses would take half of the API server
from what makes models serve."""
AT_A_TIME = 8
RETRY_AFTER = 1.0
"""Seconds to leave the API server alone after it did not take one."""
CONFLICT_AFTER = 0.1
"""Seconds after a conflict, for the source to show what the object is like by now."""
EVENTS_KEPT = 1000
"""Events that wait; more are dropped, the oldest first: statuses tell the same."""

K = TypeVar("K", bound=Hashable)
Write = Callable[[], Awaitable[None]]


class TrailingWriter(Generic[K]):
    """Its queue is replaced by each plan: a status that is superseded before its turn is never written."""

    def __init__(
        self,
        write_status: Callable[[K], Awaitable[None]],
        on_failure: Callable[[], None],
        rate: Callable[[], float],
    ) -> None:
        """`write_status` writes the status of an object as the latest plan wants it."""
        self._write_status_of = write_status
        self._on_failure = on_failure
        self._rate = rate
        self._due: dict[K, None] = {}
        self._events: deque[Write] = deque(maxlen=EVENTS_KEPT)
        self._writing: set[K] = set()
        self._wake = asyncio.Event()

    def replace_statuses(self, due: Iterable[K]) -> None:
        """All objects whose status is due, the most important first."""
        self._due = dict.fromkeys(due)
        self._wake.set()

    def add_event(self, write: Write) -> None:
        self._events.append(write)
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            metrics.WAITING.labels("statuses").set(len(self._due))
            metrics.WAITING.labels("events").set(len(self._events))
            began = time.monotonic()
            name = next((name for name in self._due if name not in self._writing), None)
            if name is not None:
                del self._due[name]
                await self._write_status(name)
            elif self._events:
                await self._write("event", self._events.popleft())
            else:
                self._wake.clear()
                await self._wake.wait()
                continue
            await asyncio.sleep(max(0.0, began + AT_A_TIME / self._rate() - time.monotonic()))

    async def _write_status(self, name: K) -> None:
        self._writing.add(name)
        try:
            await self._write("status", lambda: self._write_status_of(name))
        finally:
            self._writing.discard(name)
            self._wake.set()

    async def _write(self, kind: str, write: Write) -> None:
        try:
            with metrics.counted(kind):
                await write()
        except WriteConflict:
            await asyncio.sleep(CONFLICT_AFTER)
            self._on_failure()
        except ActuatorUnavailable:
            await asyncio.sleep(RETRY_AFTER)
            self._on_failure()
