"""Threads shared fairly: a few jobs at a time, and fewer of one tenant."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

_T = TypeVar("_T")


def _nothing() -> None:
    pass


class _Way(NamedTuple):
    lane: str
    place: str


class Lanes:
    """At most `total` jobs at a time, `per_lane` of one lane and `per_place` at one place; those that wait
    take turns.

    A lane is a tenant, a place what may hang for many of them: a bucket. One that does fills its own share
    and leaves the other threads alone. Used from one event loop.
    """

    def __init__(
        self, name: str, total: int, per_lane: int, per_place: int | None = None, *, nice: int = 0
    ) -> None:
        """`nice` is added to that of the thread which runs the first job: Linux knows a priority a thread."""
        self._total = total
        self._per_lane = per_lane
        self._per_place = total if per_place is None else per_place
        self._running_lanes: Counter[str] = Counter()
        self._running_places: Counter[str] = Counter()
        self._running_total = 0
        self._waiting: OrderedDict[_Way, deque[asyncio.Future[None]]] = OrderedDict()
        self._threads = ThreadPoolExecutor(
            total, thread_name_prefix=name, initializer=os.nice, initargs=(nice,)
        )

    async def run(
        self,
        lane: str,
        job: Callable[[], _T],
        *,
        place: str = "",
        started: Callable[[], object] = _nothing,
        ended: Callable[[], object] = _nothing,
    ) -> _T:
        """Run `job` in a thread once it is the lane's turn.

        Cancelled before its turn, the job never runs; cancelled later, it goes on and its result is lost.
        `started` is called in the event loop's thread just before the job runs, `ended` once it no longer
        does or never will.
        """
        way = _Way(lane, place)
        try:
            await self._enter(way)
        except asyncio.CancelledError:
            ended()
            raise
        started()
        future = asyncio.get_running_loop().run_in_executor(self._threads, job)

        def leave(future: asyncio.Future[_T]) -> None:
            if not future.cancelled():
                future.exception()  # whoever asked may be gone, and then nobody else looks at it
            self._leave(way)
            ended()

        future.add_done_callback(leave)
        return await asyncio.shield(future)

    def close(self) -> None:
        """Start no more jobs; those that run are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _enter(self, way: _Way) -> None:
        if self._has_room(way):
            self._take(way)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(way, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(way)
            raise

    def _has_room(self, way: _Way) -> bool:
        return (
            self._running_total < self._total
            and self._running_lanes[way.lane] < self._per_lane
            and self._running_places[way.place] < self._per_place
        )

    def _take(self, way: _Way) -> None:
        self._running_total += 1
        self._running_lanes[way.lane] += 1
        self._running_places[way.place] += 1

    def _leave(self, way: _Way) -> None:
        self._running_total -= 1
        for running, name in ((self._running_lanes, way.lane), (self._running_places, way.place)):
            running[name] -= 1
            if not running[name]:
                del running[name]
        self._admit()

    def _admit(self) -> None:
        for way in list(self._waiting):
            turns = self._waiting[way]
            while turns and turns[0].done():  # cancelled while it waited
                turns.popleft()
            if turns and self._has_room(way):
                self._take(way)
                turns.popleft().set_result(None)
                self._waiting.move_to_end(way)
            if not turns:
                del self._waiting[way]
