"""A closed loop: so many connections, each with one request at a time, until a count or a time is reached."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import httptools
import uvloop

from load.result import Result
from load.target import RequestFactory, Target

Check = Callable[[int, int, bytes], bool]
"""Number of the request, status, body -> whether the answer is right."""

_RECONNECT_AFTER = 0.01
_RETRY_AFTER = 0.1
_CONNECT_SECONDS = 1.0
"""For a client that tries again: an address whose owner is gone may never refuse."""
_PATIENCE = 15.0
"""Seconds that an observed client waits for an answer: longer than a router's own deadline."""
_LAST_ANSWERS = 10.0
"""Seconds in which requests that are under way at the end may still be answered."""


class Answer(NamedTuple):
    """One answer, as an observer gets it. Times are those of `perf_counter`, which processes share."""

    number: int
    due: float
    latency: float
    status: int
    route: str
    """The header Tenantry-Route; empty without one."""
    body: bytes


class Broken(NamedTuple):
    """A request whose connection broke, or was not to be had."""

    number: int
    due: float
    reason: str
    again: bool
    """Whether it is sent again; else the client has given it up."""


Observer = Callable[[Answer | Broken], None]


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
    return await Run(target, factory, count, seconds, rate, check).complete(connections)


class _Turn(NamedTuple):
    number: int
    due: float
    attempt: int = 1


class Run:
    """One run, for those who watch it or end it early; see `run`."""

    def __init__(
        self,
        target: Target,
        factory: RequestFactory,
        count: int,
        seconds: float,
        rate: float | None,
        check: Check | None = None,
        *,
        retries: int = 0,
        observer: Observer | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.target = target
        self.factory = factory
        self.check = check
        self.retries = retries
        self.observer = observer
        self.result = Result()
        self._count = count
        self._rate = rate
        self._started = perf_counter()
        self._ends = self._started + seconds
        self._sent = 0
        self._again: deque[_Turn] = deque()
        self._last_answer = self._started

    async def complete(self, connections: int) -> Result:
        kind = _Client if self.observer is None else _ObservedClient
        clients = [kind(self) for _ in range(connections)]
        tasks = [asyncio.create_task(client.keep_connected()) for client in clients]
        limit = self._ends - self._started + _LAST_ANSWERS
        _, late = await asyncio.wait(tasks, timeout=limit)
        self.result.elapsed = self._last_answer - self._started
        for task in late:
            task.cancel()
        for client in clients:
            client.give_up()
        return self.result

    def end(self) -> None:
        """No request is begun from now on; those under way may finish."""
        self._ends = perf_counter()

    def take(self) -> _Turn | None:
        """The next request's number and when it is due; None when there are no more."""
        if self._again:
            return self._again.popleft()
        now = perf_counter()
        due = now if self._rate is None else self._started + self._sent / self._rate
        if self._sent >= self._count or max(due, now) >= self._ends:
            return None
        self._sent += 1
        return _Turn(self._sent - 1, due)

    def broke(self, turn: _Turn, reason: str) -> None:
        """A request got no answer: it is sent again while its retries last."""
        again = turn.attempt <= self.retries
        if again:
            self._again.append(turn._replace(attempt=turn.attempt + 1))
            self.result.retried[reason] += 1
        else:
            self.result.broken[reason] += 1
        if self.observer is not None:
            self.observer(Broken(turn.number, turn.due, reason, again))

    def answered(self, number: int, due: float, status: int, body: bytes) -> None:
        self._last_answer = perf_counter()
        self.result.latencies.append(self._last_answer - due)
        self.result.statuses[status] += 1
        if self.check is not None and not self.check(number, status, body):
            self.result.wrong += 1


class _Client(asyncio.Protocol):
    """One connection, again and again."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transport: Any = None
        self._parser: Any = None
        self._turn: _Turn | None = None
        self._current: _Turn | None = None
        self._done = False
        self._lost = asyncio.Event()
        self._body = b""
        self._problem = ""
        self._timer: asyncio.TimerHandle | None = None

    async def keep_connected(self) -> None:
        while not self._done:
            self._lost.clear()
            try:
                await self._connect()
            except (OSError, TimeoutError) as error:
                turn, self._turn = self._turn or self._run.take(), None
                if turn is None:
                    return
                self._run.broke(turn, f"not connected ({type(error).__name__})")
            else:
                await self._lost.wait()
            if not self._done:
                await asyncio.sleep(_RETRY_AFTER if self._run.retries else _RECONNECT_AFTER)

    async def _connect(self) -> None:
        target = self._run.target
        connecting = self._run.loop.create_connection(lambda: self, target.host, target.port)
        await asyncio.wait_for(connecting, _CONNECT_SECONDS if self._run.retries else None)

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
            turn, self._current = self._current, None
            self._run.broke(turn, reason)
        self._lost.set()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._current is None:
            return
        turn, self._current = self._current, None
        self._answered(turn, status)
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
        wait = self._turn.due - perf_counter()
        if wait > 0:
            self._timer = self._run.loop.call_later(wait, self._send, self._turn)
        else:
            self._send(self._turn)

    def _send(self, turn: _Turn) -> None:
        self._turn = None
        # A timer may fire a moment early, and then the request was sent before it was due.
        self._current = turn._replace(due=min(turn.due, perf_counter()))
        self._transport.write(self._run.factory(turn.number))

    def _answered(self, turn: _Turn, status: int) -> None:
        self._run.answered(turn.number, turn.due, status, self._body)


class _ObservedClient(_Client):
    """Tells the observer of each answer, and does not wait forever. The others are spared what that costs."""

    _route = ""
    _patience: asyncio.TimerHandle | None = None

    def _send(self, turn: _Turn) -> None:
        super()._send(turn)
        self._patience = self._run.loop.call_later(_PATIENCE, self._lose_patience)

    def _lose_patience(self) -> None:
        self._problem = f"no answer within {_PATIENCE:.0f} s"
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"tenantry-route":
            self._route = value.decode("latin-1")

    def _answered(self, turn: _Turn, status: int) -> None:
        super()._answered(turn, status)
        assert self._patience is not None
        self._patience.cancel()
        assert self._run.observer is not None
        latency = perf_counter() - turn.due
        self._run.observer(Answer(turn.number, turn.due, latency, status, self._route, self._body))
        self._route = ""
