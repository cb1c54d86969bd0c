"""Writes slices while plans go on: of each the newest content, and what is urgent before all else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tenantry_core.slices import Entry
from tenantry_operator.planning.plan import Plan
from tenantry_operator.reconciling import metrics
from tenantry_operator.reconciling.actuator import Actuator, ActuatorUnavailable, WriteConflict

AT_A_TIME = 3
"""Enough to keep an API server on two cores busy. With more, what is urgent waits for what is under way."""
BACKOFF = (0.1, 10.0)
"""Seconds to wait after a write that failed: doubling from the first to the last."""

Entries = tuple[Entry, ...]


class SliceWriter:
    """All slices that are due, and only then those that they replace go.

    A slice is never written with what was planned before its last write ended: that write asks for a plan,
    which knows of it.
    """

    def __init__(
        self,
        actuator: Actuator,
        on_written: Callable[[str, Entries | None], None],
        on_conflict: Callable[[str], None],
        on_failure: Callable[[], None],
    ) -> None:
        self._actuator = actuator
        self._on_written = on_written
        self._on_conflict = on_conflict
        self._on_failure = on_failure
        self._due: dict[str, Entries] = {}
        self._urgent: list[str] = []
        """What goes first, the next at the beginning; also what is being written and has changed since."""
        self._obsolete: list[str] = []
        self._writing: set[str] = set()
        self._since: set[str] = set()
        """Written or deleted since the plan was begun."""
        self._failures = 0
        self._wake = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        return not self._due and not self._obsolete and not self._writing

    def begin(self) -> None:
        """A plan is about to be made of what is written by now."""
        self._since.clear()

    def replace(self, plan: Plan) -> None:
        """All slices to write and to delete, by the plan that was begun last.

        What is urgent goes first, in the order in which it became so, and stays urgent until it is written:
        behind thousands that are written for the first time, one change must not wait.
        """
        unsettled = self._writing | self._since
        due = {name: content for name, content in plan.slices.items() if name not in unsettled}
        urgent = dict.fromkeys((*self._urgent, *sorted(plan.urgent)))
        self._urgent = [name for name in urgent if name in plan.slices]
        self._due = {name: due[name] for name in self._urgent if name in due} | due
        self._obsolete = sorted(plan.obsolete - unsettled)
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            metrics.WAITING.labels("slices").set(len(self._due))
            if self._due:
                name = next(iter(self._due))
                if name in self._urgent:
                    self._urgent.remove(name)
                await self._write(name, self._due.pop(name))
            elif self._obsolete and not self._writing:
                await self._write(self._obsolete.pop(0), None)
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _write(self, name: str, entries: Entries | None) -> None:
        self._writing.add(name)
        try:
            with metrics.counted("slice"):
                if entries is None:
                    await self._actuator.delete_slice(name)
                else:
                    await self._actuator.write_slice(name, entries)
        except WriteConflict:
            self._on_conflict(name)
            await self._back_off()
        except ActuatorUnavailable:
            await self._back_off()
        else:
            self._failures = 0
            self._since.add(name)
            self._on_written(name, entries)
        finally:
            self._writing.discard(name)
            self._wake.set()

    async def _back_off(self) -> None:
        """What is due after a failure is planned anew."""
        self._due, self._obsolete = {}, []
        delay = min(BACKOFF[0] * 2**self._failures, BACKOFF[1])
        self._failures = min(self._failures + 1, 16)
        await asyncio.sleep(delay)
        self._on_failure()
