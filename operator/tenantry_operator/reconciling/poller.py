"""Asks every slot what it holds, how busy it was, whether it is ready: at an interval, and when in doubt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from tenantry_core.wire import SlotReport
from tenantry_operator.planning.world import Instance, Slot
from tenantry_operator.reconciling.measurements import Measurements, Meter
from tenantry_operator.reconciling.slot_client import SlotClient
from tenantry_operator.reconciling.state import ObservedState

INTERVAL = 10.0
"""Seconds between two rounds."""
SHORTEST_INTERVAL = 1.0
"""The same while a slot leaves, which waits until it is idle, and when one is in doubt."""


class Poller:
    """Keeps the last measurements; a slot that does not answer keeps its last report until it is gone."""

    def __init__(self, client: SlotClient, clock: Callable[[], float], state: ObservedState) -> None:
        self._client = client
        self._clock = clock
        self._state = state
        self._meter = Meter()
        self.measured = Measurements()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            self._state.doubtful.clear()
            slots = self._state.slots()
            await self.poll(slots)
            await asyncio.sleep(SHORTEST_INTERVAL)
            if all(slot.leaving_since is None for slot in slots.values()):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INTERVAL - SHORTEST_INTERVAL):
                        await self._state.doubtful.wait()

    async def poll(self, slots: dict[str, Slot]) -> None:
        """One round; tells of a change when there is one."""
        asked = {name: _speaker(slot) for name, slot in slots.items()}
        present = {name: instance for name, instance in asked.items() if instance is not None}
        reports = await asyncio.gather(*(self._client.report(i) for i in present.values()))
        for (name, instance), report in zip(present.items(), reports, strict=True):
            if isinstance(report, SlotReport):
                self._meter.record(name, report, self._clock())
            ready = isinstance(report, SlotReport) and report.ready
            self._state.put_own_word(name, instance.id if ready else "")
        self._meter.forget_all_but(set(slots))
        before, self.measured = self.measured, self._meter.measurements()
        if before != self.measured:
            self._state.dirty.set()


def _speaker(slot: Slot) -> Instance | None:
    """The instance that answers for the slot: a ready one where there is one."""
    present = [instance for instance in slot.instances if not instance.terminating]
    return max(present, key=lambda instance: (instance.ready, instance.id), default=None)
