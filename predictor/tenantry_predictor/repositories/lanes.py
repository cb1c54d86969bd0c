"""Threads shared fairly: a few jobs at a time, and fewer of one tenant."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


def _nothing() -> None:
    pass


class Lanes:
    """At most `total` jobs at a time and `per_lane` of one lane; lanes that wait take turns.

    A lane is a tenant: one whose store hangs fills its own lane and leaves the other threads alone.
    Used from one event loop.
    """

    def __init__(self, name: str, total: int, per_lane: int) -> None:
        self._total = total
        self._per_lane = per_lane
        self._running: dict[str, int] = {}
        self._running_total = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._threads = ThreadPoolExecutor(total, thread_name_prefix=name)

    async def run(
        self,
        lane: str,
        job: Callable[[], _T],
        *,
        started: Callable[[], object] = _nothing,
        ended: Callable[[], object] = _nothing,
    ) -> _T:
        """Run `job` in a thread once it is the lane's turn.

        Cancelled before its turn, the job never runs; cancelled later, it goes on and its result is lost.
        `started` is called in the event loop's thread just before the job runs, `ended` once it no longer
        does or never will.
        """
        try:
            await self._enter(lane)
        except asyncio.CancelledError:
            ended()
            raise
        started()
        future = asyncio.get_running_loop().run_in_executor(self._threads, job)

        def leave(future: asyncio.Future[_T]) -> None:
            if not future.cancelled():
                future.exception()  # whoever asked may be gone, and then nobody else looks at it
            self._leave(lane)
            ended()

        future.add_done_callback(leave)
        return await asyncio.shield(future)

    def close(self) -> None:
        """Start no more jobs; those that run are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _enter(self, lane: str) -> None:
        if self._has_room(lane):
            self._take(lane)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(lane, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(lane)
            raise

    def _has_room(self, lane: str) -> bool:
        return self._running_total < self._total and self._running.get(lane, 0) < self._per_lane

    def _take(self, lane: str) -> None:
        self._running_total += 1
        self._running[lane] = self._running.get(lane, 0) + 1

    def _leave(self, lane: str) -> None:
        self._running_total -= 1
        self._running[lane] -= 1
        if not self._running[lane]:
            del self._running[lane]
        self._admit()

    def _admit(self) -> None:
        for lane in list(self._waiting):
            turns = self._waiting[lane]
            while turns and turns[0].done():  # cancelled while it waited
                turns.popleft()
            if turns and self._has_room(lane):
                self._take(lane)
                turns.popleft().set_result(None)
                self._waiting.move_to_end(lane)
            if not turns:
                del self._waiting[lane]
