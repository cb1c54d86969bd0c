"""Which slots are kept out of rotation: those that fail requests, and those that do not answer probes.

A slot that the address book calls not ready is asked itself. Kubernetes takes pods for not ready, too, when
their kubelet is silent for 40 seconds, though they answer as ever; and one that is new or was started again
says of itself that it is not warm yet.

Passive ejection follows Envoy's outlier detection: consecutive failures, a time that grows with each
ejection, never more than half of a pool.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tenantry_core.http.client import Call, Pool, UpstreamError, UpstreamResponse
from tenantry_router.fleet import PREDICTOR_PORT, Fleet, Slot, SlotPool

logger = logging.getLogger(__name__)

FAILURES_TO_EJECT = 5
"""Consecutive requests that got no answer."""
PROBES_TO_EJECT = 2
"""Consecutive probes without an answer: with the times below, a slot that hangs is out within 1.5 s."""
FIRST_EJECTION = 1.0
LONGEST_EJECTION = 30.0
"""Seconds; each ejection lasts twice as long as the one before."""
FORGIVEN_AFTER = 60.0
"""Seconds without an ejection after which the next one is a first one again."""
PROBE_INTERVAL = 0.5
PROBE_TIMEOUT = 0.5
"""Seconds."""
IS_LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: predictor\r\n\r\n"
IS_READY = b"GET /v2/health/ready HTTP/1.1\r\nhost: predictor\r\n\r\n"


class Health:
    """Decides; sends nothing itself. Times are the event loop's."""

    def __init__(self, fleet: Fleet, on_ejected: Callable[[Slot], None]) -> None:
        self._fleet = fleet
        self._on_ejected = on_ejected

    def failed(self, slot: Slot, now: float) -> None:
        """A request got no answer. (One that got any answer sets `slot.failures` to 0.)"""
        slot.failures += 1
        if slot.failures >= FAILURES_TO_EJECT and self._eject(slot, "requests failed"):
            if now - slot.out_until > FORGIVEN_AFTER:
                slot.ejections = 0
            slot.out_until = now + min(LONGEST_EJECTION, FIRST_EJECTION * 2**slot.ejections)
            slot.ejections += 1

    def probed(self, slot: Slot, alive: bool, now: float) -> None:
        """A probe was answered or not. Only a slot that answers comes back, and not before its time."""
        if not alive:
            slot.probe_failures += 1
            if slot.probe_failures >= PROBES_TO_EJECT:
                self._eject(slot, "probes are not answered")
                slot.ready = slot.ready and not slot.doubted
            return
        slot.probe_failures = 0
        if slot.ejected and now >= slot.out_until:
            slot.ejected = False
            slot.failures = 0
            if slot.ready:
                logger.info("slot %s is back in rotation", slot.name)

    def said(self, slot: Slot, ready: bool) -> None:
        """A slot that was doubted when it was asked has said whether it is ready."""
        if slot.doubted and slot.ready is not ready:
            slot.ready = ready
            logger.info("slot %s says that it is %s", slot.name, "ready" if ready else "not ready")

    def _eject(self, slot: Slot, why: str) -> bool:
        """One that is not ready is out of rotation as it is."""
        pool = self._fleet.pools.get(slot.address.pool)
        if slot.ejected or not slot.ready or pool is None:
            return False
        if pool.slots.get(slot.name) is not slot or not _may_eject(pool):
            return False
        slot.ejected = True
        logger.warning("slot %s is out of rotation: %s", slot.name, why)
        self._on_ejected(slot)
        return True


def _may_eject(pool: SlotPool) -> bool:
    """Whether one more leaves at least half of the pool."""
    ejected = sum(slot.ejected for slot in pool.slots.values())
    return 2 * (ejected + 1) <= len(pool.slots)


class Prober:
    """Asks every slot, twice a second and on a connection of its own, whether it lives, or is ready."""

    def __init__(self, fleet: Fleet, health: Health) -> None:
        self._fleet = fleet
        self._health = health
        self._probes: dict[Slot, _Probe] = {}

    async def run(self) -> None:
        """Probe until cancelled."""
        try:
            while True:
                self._probe_all()
                await asyncio.sleep(PROBE_INTERVAL)
        finally:
            for probe in self._probes.values():
                probe.close()

    def _probe_all(self) -> None:
        slots = set(self._fleet.slots.values())
        for gone in self._probes.keys() - slots:
            self._probes.pop(gone).close()
        for slot in slots:
            if slot not in self._probes:
                self._probes[slot] = _Probe(slot, self._health)
            self._probes[slot].start()


class _Probe:
    def __init__(self, slot: Slot, health: Health) -> None:
        self._slot = slot
        self._health = health
        self._loop = asyncio.get_running_loop()
        self._pool = Pool(
            slot.address.host,
            slot.address.ports[PREDICTOR_PORT],
            max_connections=1,
            connect_timeout=PROBE_TIMEOUT,
        )
        self._call: Call | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Send a probe, unless one is still under way."""
        if self._call is None:
            request, done = (IS_READY, self._said) if self._slot.doubted else (IS_LIVE, self._done)
            self._call = self._pool.send(request, done)
            self._timer = self._loop.call_later(PROBE_TIMEOUT, self._timed_out)

    def close(self) -> None:
        self._finish()
        self._pool.close()

    def _done(self, result: UpstreamResponse | UpstreamError) -> None:
        self._finish()
        alive = isinstance(result, UpstreamResponse) and result.status < 500
        self._health.probed(self._slot, alive, self._loop.time())

    def _said(self, result: UpstreamResponse | UpstreamError) -> None:
        """An answer of any kind shows that it lives."""
        self._finish()
        if isinstance(result, UpstreamResponse):
            self._health.said(self._slot, result.status < 400)
        self._health.probed(self._slot, isinstance(result, UpstreamResponse), self._loop.time())

    def _timed_out(self) -> None:
        self._finish()
        self._health.probed(self._slot, False, self._loop.time())

    def _finish(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
