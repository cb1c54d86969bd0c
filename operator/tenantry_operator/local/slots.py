"""The slots of all pools as processes: started, watched, replaced when their pool's template changes."""

from __future__ import annotations

import asyncio
import logging
import sys
import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field

import httpx

from tenantry_core.resources import PredictorPool
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder
from tenantry_operator.local.directory import StateDirectory
from tenantry_operator.local.pool_settings import predictor_settings
from tenantry_operator.local.processes import LOOPBACK, Backoff, free_port, kill_group, spawn, terminate
from tenantry_operator.planning.world import Instance
from tenantry_operator.reconciling.state import ObservedState

logger = logging.getLogger(__name__)

STOP_GRACE = 15.0
"""Seconds that a predictor has to finish what it works on."""
HANDOVER = 1.0
"""Seconds between telling the router of a successor and stopping its predecessor."""
_POLL_STARTING, _POLL_READY = 0.1, 1.0


@dataclass(eq=False)
class Predictor:
    """One process behind a slot."""

    slot: str
    settings: tuple[str, ...]
    port: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    process: asyncio.subprocess.Process | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has a process, or is known to get none."""
    ready: bool = False
    terminating: bool = False

    def instance(self) -> Instance:
        return Instance(self.id, LOOPBACK, self.port, self.ready, self.terminating)

    def address(self, pool: str) -> SlotAddress:
        ready = self.ready and not self.terminating
        return SlotAddress(self.slot, pool, LOOPBACK, {"http": self.port}, ready)


@dataclass(eq=False)
class _Slot:
    """What runs for a slot, oldest first, and what should."""

    name: str
    pool: str
    settings: tuple[str, ...]
    wanted: bool = True
    predictors: list[Predictor] = field(default_factory=list)
    backoff: Backoff = field(default_factory=Backoff)
    resting: bool = False
    """Fell, and waits for its next start."""

    def current(self) -> Predictor | None:
        """The newest process with the present settings."""
        staying = [p for p in self.predictors if p.settings == self.settings and not p.terminating]
        return staying[-1] if staying else None

    def serving(self) -> Predictor | None:
        """The one to send requests to: the newest that is ready, else the newest."""
        staying = [p for p in self.predictors if not p.terminating]
        best = [p for p in staying if p.ready] or staying
        return best[-1] if best else None


class SlotSupervisor:
    """Makes the processes be what was asked for, whatever falls; all in one event loop's thread.

    Every change leads to `_settle`, which compares what runs with what should: no step depends on another.
    """

    def __init__(self, directory: StateDirectory, state: ObservedState, on_pids: Callable[[], None]) -> None:
        self._directory = directory
        self._state = state
        self._folder = SnapshotFolder(directory.router)
        self._on_pids = on_pids
        self._slots: dict[str, _Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._client = httpx.AsyncClient(timeout=2.0, trust_env=False)
        self._stopping = False

    def run(self, pool: PredictorPool, names: Sequence[str]) -> None:
        """Make exactly these slots run for the pool. Raises ValueError for a cache size that is none."""
        settings = predictor_settings(pool)
        for name in names:
            slot = self._slots.setdefault(name, _Slot(name, pool.name, settings))
            slot.settings, slot.wanted = settings, True
        for slot in self._slots.values():
            if slot.pool == pool.name and slot.name not in names:
                slot.wanted = False
        self._settle()

    def remove_pool(self, pool: str) -> None:
        for slot in self._slots.values():
            if slot.pool == pool:
                slot.wanted = False
        self._settle()

    def pids(self) -> dict[str, int]:
        """Process ids by slot, of those that run now."""
        serving = {name: slot.serving() for name, slot in sorted(self._slots.items())}
        return {n: p.process.pid for n, p in serving.items() if p is not None and p.process is not None}

    async def stop(self) -> None:
        """End all processes, all at a time, and wait for them."""
        self._stopping = True
        tasks = list(self._tasks)
        predictors = [p for slot in self._slots.values() for p in slot.predictors]
        await asyncio.gather(*(terminate(p.process, STOP_GRACE) for p in predictors if p.process))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    def _settle(self) -> None:
        if self._stopping:
            return
        for slot in list(self._slots.values()):
            self._settle_slot(slot)
            self._report(slot)
        addresses = ((slot, slot.serving()) for _, slot in sorted(self._slots.items()))
        book = AddressBook(tuple(p.address(slot.pool) for slot, p in addresses if p is not None))
        self._folder.write_addresses(book)
        self._on_pids()

    def _settle_slot(self, slot: _Slot) -> None:
        current = slot.current()
        if not slot.wanted:
            self._retire(slot.predictors)
        elif current is None and not slot.resting and not self._another_rolls(slot):
            self._launch(slot)
        elif current is not None and current.ready:
            self._retire([p for p in slot.predictors if p is not current])

    def _another_rolls(self, slot: _Slot) -> bool:
        """Slots of a pool are replaced one at a time; an empty one waits for nobody."""
        if not slot.predictors:
            return False
        others = (s for s in self._slots.values() if s.pool == slot.pool and s is not slot and s.wanted)
        return any((now := other.current()) is not None and not now.ready for other in others)

    def _launch(self, slot: _Slot) -> None:
        predictor = Predictor(slot.name, slot.settings, free_port())
        slot.predictors.append(predictor)
        slot.backoff.started()
        self._start(self._live(slot, predictor))

    def _retire(self, predictors: Sequence[Predictor]) -> None:
        for predictor in predictors:
            if not predictor.terminating:
                predictor.terminating = True
                self._start(self._hand_over(predictor))

    async def _hand_over(self, predictor: Predictor) -> None:
        await asyncio.sleep(HANDOVER)
        await predictor.started.wait()
        if predictor.process is not None:
            await terminate(predictor.process, STOP_GRACE)

    async def _live(self, slot: _Slot, predictor: Predictor) -> None:
        """From its start to its end, and what follows from that."""
        directory = self._directory
        command = [
            *(sys.executable, "-m", "tenantry_predictor"),
            *("--slot", slot.name, "--host", LOOPBACK, "--port", str(predictor.port)),
            *("--cache-dir", str(directory.cache(slot.name)), "--token-file", str(directory.token)),
            *predictor.settings,
        ]
        try:
            predictor.process = await spawn(command, directory.log(slot.name))
        except OSError as error:
            self._ended(slot, predictor, str(error))
            return
        finally:
            predictor.started.set()
        self._settle()
        watch = asyncio.create_task(self._watch_readiness(predictor))
        try:
            code = await predictor.process.wait()
        finally:
            watch.cancel()
            kill_group(predictor.process.pid)
        self._ended(slot, predictor, code)

    def _ended(self, slot: _Slot, predictor: Predictor, why: int | str) -> None:
        slot.predictors.remove(predictor)
        if not slot.wanted and not slot.predictors:
            del self._slots[slot.name]
            self._state.drop_slot(slot.name)
        elif not predictor.terminating and not self._stopping:
            delay = slot.backoff.fell()
            logger.warning("slot %s ended with %s; it starts again after %.1f s", slot.name, why, delay)
            slot.resting = True
            asyncio.get_running_loop().call_later(delay, self._rested, slot)
        self._settle()

    def _rested(self, slot: _Slot) -> None:
        slot.resting = False
        self._settle()

    async def _watch_readiness(self, predictor: Predictor) -> None:
        url = f"http://{LOOPBACK}:{predictor.port}/v2/health/ready"
        while True:
            try:
                ready = (await self._client.get(url)).status_code == 200
            except httpx.HTTPError:
                ready = False
            if ready != predictor.ready:
                predictor.ready = ready
                self._settle()
            await asyncio.sleep(_POLL_READY if ready else _POLL_STARTING)

    def _report(self, slot: _Slot) -> None:
        started = [p.instance() for p in slot.predictors if p.process is not None]
        self._state.put_slot(slot.name, slot.pool, started)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
