"""Asks every slot at an interval what it holds and how busy it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tenantry_core.wire import SlotReport
from tenantry_operator.planning.world import Instance, Slot
from tenantry_operator.reconciling.measurements import Measurements, Meter
from tenantry_operator.reconciling.slot_client import SlotClient

INTERVAL = 10.0
"""Seconds between two rounds."""
DRAIN_INTERVAL = 1.0
"""The same while a slot leaves, which waits until it is idle."""


class Poller:
    """Keeps the last measurements; a slot that does not answer keeps its last report until it is gone."""

    def __init__(
        self,
        client: SlotClient,
        clock: Callable[[], float],
        slots: Callable[[], dict[str, Slot]],
        on_change: Callable[[], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._slots = slots
        self._on_change = on_change
        self._meter = Meter()
        self.measured = Measurements()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            slots = self._slots()
            await self.poll(slots)
            leaving = any(slot.leaving_since is not None for slot in slots.values())
            await asyncio.sleep(DRAIN_INTERVAL if leaving else INTERVAL)

    async def poll(self, slots: dict[str, Slot]) -> None:
        """One round; tells of a change when there is one."""
        asked = {name: _speaker(slot) for name, slot in slots.items()}
        present = {name: instance for name, instance in asked.items() if instance is not None}
        reports = await asyncio.gather(*(self._client.report(i) for i in present.values()))
        for name, report in zip(present, reports, strict=True):
            if isinstance(report, SlotReport):
                self._meter.record(name, report, self._clock())
        self._meter.forget_all_but(set(slots))
        before, self.measured = self.measured, self._meter.measurements()
        if before != self.measured:
            self._on_change()


def _speaker(slot: Slot) -> Instance | None:
    """The instance that answers for the slot: a ready one where there is one."""
    present = [instance for instance in slot.instances if not instance.terminating]
    return max(present, key=lambda instance: (instance.ready, instance.id), default=None)
