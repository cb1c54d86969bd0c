"""The loop: observe, plan, apply. Level-triggered, coalescing, and the only place that has side effects."""

from __future__ import annotations

import time
from collections.abc import Callable

from tenantry_operator.actuator import Actuator
from tenantry_operator.slot_client import SlotClient
from tenantry_operator.state import ObservedState


class Reconciler:
    """Brings what runs in line with what was applied; keeps nothing that a restart would lose."""

    def __init__(
        self,
        state: ObservedState,
        actuator: Actuator,
        slots: SlotClient,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._actuator = actuator
        self._slots = slots
        self._clock = clock

    async def run(self) -> None:
        """Run until cancelled; on the way out it waits for nothing and leaves everything as it is."""
        await self._state.complete.wait()
