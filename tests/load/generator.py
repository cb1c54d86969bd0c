"""A closed loop: so many connections, each with one request at a time, until a count or a time is reached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any

import httptools
import uvloop

from load.result import Result
from load.target import RequestFactory, Target

Check = Callable[[int, int, bytes], bool]
"""Number of the request, status, body -> whether the answer is right."""

_RECONNECT_AFTER = 0.01
_LAST_ANSWERS = 10.0
"""Seconds in which requests that are under way at the end may still be answered."""


def measure(
    target: Target,
    factory: RequestFactory,
    *,
    connections: int,
    count: int,
    seconds: float,
    rate: float | None = None,
    check: Check | None = None,
) -> Result:
    """`run` in an event loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(
            run(
                target, factory, connections=connections, count=count, seconds=seconds, rate=rate, check=check
            )
        )


async def run(
    target: Target,
    factory: RequestFactory,
    *,
    connections: int,
    count: int,
    seconds: float,
    rate: float | None = None,
    check: Check | None = None,
) -> Result:
    """Send at most `count` requests for at most `seconds`, at most `rate` a second.

    With a rate, latency counts from when a request was due, so that a server that stalls cannot hide it.
    A connection that breaks is counted and opened again.
    """
    return await _Run(target, factory, count, seconds, rate, check).complete(connections)


class _Run:
    def __init__(
        self,
        target: Target,
        factory: RequestFactory,
        count: int,
        seconds: float,
        rate: float | None,
        check: Check | None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.target = target
        self.factory = factory
        self.check = check
        self.result = Result()
        self._count = count
        self._rate = rate
        self._started = perf_counter()
        self._ends = self._started + seconds
        self._sent = 0
        self._last_answer = self._started

    async def complete(self, connections: int) -> Result:
        clients = [_Client(self) for _ in range(connections)]
        tasks = [asyncio.create_task(client.keep_connected()) for client in clients]
        limit = self._ends - self._started + _LAST_ANSWERS
        _, late = await asyncio.wait(tasks, timeout=limit)
        self.result.elapsed = self._last_answer - self._started
        for task in late:
            task.cancel()
        for client in clients:
            client.give_up()
        return self.result

    def take(self) -> tuple[int, float] | None:
        """The next request's number and when it is due; None when there are no more."""
        now = perf_counter()
        due = now if self._rate is None else self._started + self._sent / self._rate
        if self._sent >= self._count or max(due, now) >= self._ends:
            return None
        self._sent += 1
        return self._sent - 1, due

    def answered(self, number: int, due: float, status: int, body: bytes) -> None:
        self._last_answer = perf_counter()
        self.result.latencies.append(self._last_answer - due)
        self.result.statuses[status] += 1
        if self.check is not None and not self.check(number, status, body):
            self.result.wrong += 1


class _Client(asyncio.Protocol):
    """One connection, again and again."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: Any = None
        self._parser: Any = None
        self._turn: tuple[int, float] | None = None
        self._current: tuple[int, float] | None = None
        self._done = False
        self._lost = asyncio.Event()
        self._body = b""
        self._problem = ""
        self._timer: asyncio.TimerHandle | None = None

    async def keep_connected(self) -> None:
        target = self._run.target
        while not self._done:
            self._lost.clear()
            try:
                await self._run.loop.create_connection(lambda: self, target.host, target.port)
            except OSError as error:
                if self._run.take() is None:
                    return
                self._run.result.broken[f"not connected ({type(error).__name__})"] += 1
            else:
                await self._lost.wait()
            if not self._done:
                await asyncio.sleep(_RECONNECT_AFTER)

    def give_up(self) -> None:
        """The run is over."""
        if self._current is not None:
            self._run.result.broken["unanswered at the end"] += 1
            self._current = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._body, self._problem = b"", ""
        self._next()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._problem = "malformed answer"
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._current is not None:
            reason = self._problem or (
                f"broken ({type(exc).__name__})" if exc else "closed without an answer"
            )
            self._run.result.broken[reason] += 1
            self._current = None
        self._lost.set()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._current is None:
            return
        number, due = self._current
        self._current = None
        self._run.answered(number, due, status, self._body)
        self._body = b""
        if self._parser.should_keep_alive():
            self._next()
        else:
            self._transport.close()

    def _next(self) -> None:
        if self._turn is None:  # else it was not yet due when the last connection ended
            self._turn = self._run.take()
        if self._turn is None:
            self._done = True
            self._transport.close()
            return
        wait = self._turn[1] - perf_counter()
        if wait > 0:
            self._timer = self._run.loop.call_later(wait, self._send, self._turn)
        else:
            self._send(self._turn)

    def _send(self, turn: tuple[int, float]) -> None:
        self._turn = None
        self._current = turn
        self._transport.write(self._run.factory(turn[0]))
