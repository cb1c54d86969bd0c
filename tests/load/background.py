"""A constant load from a process of its own, watched while something happens to the server."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from time import perf_counter
from types import TracebackType
from typing import Self

import uvloop

from load.generator import Answer, Broken, Run
from load.target import Target

_LONGEST = 1800.0
"""Seconds after which it ends unasked."""
_TELL_EVERY = 0.1
_END_SECONDS = 30.0


class Background:
    """Sends `requests` in turn, so many a second, from `with` until its end.

    What was observed grows in `answers` and `broken`, in the order of events. A request whose connection
    breaks is sent again up to `retries` times, as clients do.
    """

    def __init__(
        self,
        target: Target,
        requests: Sequence[bytes],
        *,
        rate: float,
        connections: int = 16,
        retries: int = 0,
    ) -> None:
        self.answers: list[Answer] = []
        self.broken: list[Broken] = []
        context = multiprocessing.get_context("spawn")
        self._pipe, childs = context.Pipe()
        arguments = (childs, target, list(requests), rate, connections, retries)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._childs_end = childs

    def __enter__(self) -> Self:
        self._process.start()
        self._childs_end.close()  # so that the reader sees the end of the process
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends it, and waits for the answers under way."""
        with contextlib.suppress(OSError):  # it has ended by itself; what it told is read
            self._pipe.send(None)
        self._reader.join(_END_SECONDS)
        self._process.join(_END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
        self._pipe.close()

    @property
    def now(self) -> float:
        """A moment to compare with `due` of answers."""
        return perf_counter()

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def _read(self) -> None:
        while True:
            try:
                events: list[Answer | Broken] = self._pipe.recv()
            except (EOFError, OSError):
                return
            self.answers += [event for event in events if isinstance(event, Answer)]
            self.broken += [event for event in events if isinstance(event, Broken)]


def _work(
    pipe: Connection, target: Target, requests: list[bytes], rate: float, connections: int, retries: int
) -> None:
    """The other process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_load(pipe, target, requests, rate, connections, retries))


async def _load(
    pipe: Connection, target: Target, requests: list[bytes], rate: float, connections: int, retries: int
) -> None:
    events: list[Answer | Broken] = []
    run = Run(
        target,
        lambda number: requests[number % len(requests)],
        10**9,
        _LONGEST,
        rate,
        retries=retries,
        observer=events.append,
    )
    loop = asyncio.get_running_loop()

    def end() -> None:
        """Asked to, or the other end is gone."""
        loop.remove_reader(pipe.fileno())
        run.end()

    loop.add_reader(pipe.fileno(), end)
    running = asyncio.create_task(run.complete(connections))
    while events or not running.done():
        await asyncio.wait([running], timeout=_TELL_EVERY)
        told, events[:] = events[:], []
        try:
            pipe.send(told)
        except OSError:
            return  # nobody listens any more
