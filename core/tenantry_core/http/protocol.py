"""The protocol class that uvicorn runs for each connection: hot routes directly, the rest through FastAPI."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from tenantry_core.http.connection import PROBE_AFTER, Connection
from tenantry_core.http.drain import Drain
from tenantry_core.http.encoding import CLOSE, CONTINUE
from tenantry_core.http.exchange import Exchange
from tenantry_core.http.fallback import Fallback
from tenantry_core.http.heads import HEADS, Memo
from tenantry_core.http.limits import Budget, Limits
from tenantry_core.http.messages import HotRoutes
from tenantry_core.http.metrics import REFUSED
from tenantry_core.http.reader import NEVER
from tenantry_core.http.sweeper import Sweeper
from tenantry_core.problems import Problem

_MOST_GATHERED = 64 * 1024
"""Bytes of answers that are kept for one write."""
_GATHERING_SECONDS = 0.001
"""For which an answer is kept, while others are made."""


def hot_protocol(
    routes: HotRoutes, limits: Limits, budget: Budget, drain: Drain | None = None, heads: int = HEADS
) -> type[asyncio.Protocol]:
    """A class for uvicorn's `http=` that answers `routes` itself and passes on every other request.

    `heads` is how many heads are remembered, or half of it; without any, all goes through the parser.
    """

    class BoundHotProtocol(HotProtocol):
        __slots__ = ()

    BoundHotProtocol.routes = routes
    BoundHotProtocol.limits = limits
    BoundHotProtocol.budget = budget
    BoundHotProtocol.heads = Memo(heads)
    BoundHotProtocol.drain = drain or Drain()
    BoundHotProtocol.sweeper = Sweeper(limits)
    return BoundHotProtocol


class HotProtocol(Connection):
    """The answering half: a queue of exchanges, in the order of arrival, of which the first may write."""

    routes: HotRoutes
    drain: Drain
    sweeper: Sweeper

    __slots__ = (
        "_config",
        "_fallback",
        "_falling_back",
        "_flushing",
        "_gathered",
        "_gathered_bytes",
        "_gathering_since",
        "_match",
        "_queue",
        "_quiet_since",
        "_server",
        "_state",
        "_waiting",
        "stopping",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(_loop or asyncio.get_running_loop())
        self._config = config
        self._server = server_state
        self._state = app_state
        self._match = self.routes.match
        self._queue: deque[Exchange] = deque()
        self._waiting: deque[Exchange] = deque()
        self._fallback: Fallback | None = None
        self._falling_back = False
        self._flushing = False
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._gathering_since = 0.0
        self._quiet_since = 0.0
        self.stopping = self.drain.begun
        """The server ends, and with the next answer this connection."""

    # asyncio's callbacks; data_received is the reader's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._server.connections.add(self)  # type: ignore[arg-type] # uvicorn names its own classes only
        self._quiet_since = self._loop.time()
        self.sweeper.add(self, self._loop)

    def eof_received(self) -> bool:
        """A client may close its side and still wait for answers; a request cut short gets none."""
        self._half_closed = True
        self.stop_reading()
        if self._closing or not self._queue:
            return False
        self._loop.call_later(PROBE_AFTER, self._probe, PROBE_AFTER)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._server.connections.discard(self)
        self.sweeper.discard(self)
        self.stop_reading()
        self._parser = None  # it refers to this object
        if self._fallback is not None:
            self._fallback.disconnect(exc)
        for exchange in (*self._queue, *self._waiting):
            self.budget.give_back(len(exchange.body))
            exchange.disconnect()
        self._queue.clear()
        self._waiting.clear()

    def pause_writing(self) -> None:
        self._await_drain(self._loop.time())
        if self._fallback is not None:
            self._fallback.pause_writing()
        self._pace_reading()

    def resume_writing(self) -> None:
        if self._closing:
            return
        self._write_deadline = NEVER
        if self._fallback is not None:
            self._fallback.resume_writing()
        self._flush()

    # uvicorn's callback

    def shutdown(self) -> None:
        """Graceful: requests in flight finish, then the connection closes; an idle one closes now."""
        self.stopping = True
        self._close_if_done()

    # From the sweeper

    def expire(self, now: float) -> None:
        """Act on the deadlines that have passed."""
        if now >= self._write_deadline:
            self._check_drain(now)
        elif self._closing:
            return
        elif now >= self.read_deadline and not self._paused:
            self._time_out()
        elif self._queue or self.read_deadline is not NEVER:
            self._quiet_since = now
        elif now - max(self._quiet_since, self._received) >= self.limits.idle_timeout:
            self._close()

    def is_waited_for(self) -> bool:
        # Clients that ask for the connection to be closed (scripts, mostly) might not skip what they get.
        return bool(self._queue) and self._queue[0].handler is not None and not self._queue[0].persistence

    # From an exchange

    def last_persistence(self, exchange: Exchange) -> bytes:
        """The Connection field of an answer while the server stops: the last one ends the connection."""
        if exchange.handler is not None:
            self.drain.last_answer = self._loop.time()
        if exchange is self._queue[-1] and not self._waiting and not self.reading:
            exchange.persistence = CLOSE
            self.read_ended = True
        return exchange.persistence

    def answered(self, exchange: Exchange) -> None:
        """`exchange` has its answer: write it when its turn has come."""
        queue = self._queue
        if queue[0] is not exchange or self._flushing:
            return
        if len(queue) > 1 or exchange.persistence is CLOSE or self._is_unusual():
            self._flush()
            return
        queue.popleft()
        self.budget.used -= len(exchange.body)
        if self.gathering:
            self._gather(exchange.data)
        else:
            self._transport.write(exchange.data)
        if self._wants_continue:
            self.ask_for_body()

    # Answers to requests that have arrived together, as over a connection that a router shares among many.
    # (uvloop makes a system call of each write, and that is what an answer costs most.)

    def _gather(self, data: bytes | None) -> None:
        if data:  # FastAPI has written it itself if it is empty
            now = monotonic()
            if not self._gathered:
                self._gathering_since = now
            self._gathered.append(data)
            self._gathered_bytes += len(data)
            if self._gathered_bytes > _MOST_GATHERED or now - self._gathering_since > _GATHERING_SECONDS:
                self.send_gathered()

    def send_gathered(self) -> None:
        gathered = self._gathered
        if gathered:
            self._gathered = []
            self._gathered_bytes = 0
            self._transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    # The outlet of the fallback, which writes only while its exchange is the first of the queue

    def write(self, data: bytes) -> None:
        self.send_gathered()
        self._transport.write(data)

    def close(self) -> None:
        """FastAPI's answer ends the connection. After a whole answer (an error was logged) it need not."""
        if self._falling_back:
            self.send_gathered()
            self._close()

    def is_closing(self) -> bool:
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    # The queue

    def deliver(self, exchange: Exchange) -> None:
        """A whole request has arrived: have it answered, or let it wait for those before."""
        if self._closing:
            self.budget.give_back(len(exchange.body))
            return
        queue = self._queue
        exchange.connection = self
        handler = exchange.handler = self._match(exchange.method, exchange.path)
        room = self.limits.pipeline - len(queue)
        if room <= 0 or self._waiting:
            self._waiting.append(exchange)
            return
        queue.append(exchange)
        if room == 1:
            self._pace_reading()
        if handler is not None:
            exchange.start(handler)
        elif len(queue) == 1:
            self._fall_back(exchange)

    def refuse(self, problem: Problem) -> None:
        """Answer with `problem` after all requests before; then the connection ends."""
        REFUSED.labels(str(problem.status)).inc()
        self.stop_reading()
        self._refused = True
        (self._waiting or self._queue).append(Exchange.refusal(problem))
        self._flush()

    def ask_for_body(self) -> None:
        """Send `100 Continue`, but not before the answers to earlier requests."""
        if self.in_body and not self._queue and not self._closing:
            self._wants_continue = False
            self.send_gathered()
            self._transport.write(CONTINUE)

    def _is_unusual(self) -> bool:
        """Something has to be done beside writing an answer."""
        return self._paused or self._half_closed or self.stopping

    def _flush(self) -> None:
        """Write the answers whose turn has come, start what waits, until there is nothing to do."""
        self._flushing = True
        while not self._closing:
            self._write_ready()
            if not self._start_waiting():
                break
        self._flushing = False
        if self._closing:
            return
        if not self._queue:
            if self.stopping or self._half_closed:
                self._close_if_done()
            if self._wants_continue:
                self.ask_for_body()
        self._pace_reading()

    def _write_ready(self) -> None:
        """Write the answers at the head of the queue, together."""
        self.send_gathered()
        queue = self._queue
        ready: list[bytes] = []
        while queue and (data := queue[0].data) is not None:
            exchange = queue.popleft()
            self.budget.used -= len(exchange.body)
            ready.append(data)
            if exchange.persistence is CLOSE:
                self._transport.write(b"".join(ready))
                self._close()
                return
        if ready:
            self._transport.write(ready[0] if len(ready) == 1 else b"".join(ready))

    def _start_waiting(self) -> bool:
        """Whether anything was started that may have been answered at once."""
        queue, waiting = self._queue, self._waiting
        started = False
        while waiting and len(queue) < self.limits.pipeline and self._write_deadline is NEVER:
            exchange = waiting.popleft()
            queue.append(exchange)
            if exchange.handler is not None:
                exchange.start(exchange.handler)
            started = True
        if queue and queue[0].handler is None and queue[0].data is None and not self._falling_back:
            self._fall_back(queue[0])
        return started

    def _fall_back(self, exchange: Exchange) -> None:
        self._falling_back = True
        if self._fallback is None:
            self._fallback = Fallback(self._config, self._server, self._state, self, self._fallback_answered)
        self._fallback.start(
            exchange, self.last_persistence(exchange) if self.stopping else exchange.persistence
        )

    def _fallback_answered(self) -> None:
        self._falling_back = False
        if self._closing:
            return
        exchange = self._queue[0]
        exchange.data = b""  # all of it has been written
        self.answered(exchange)

    # Reading

    def _pace_reading(self) -> None:
        """Read no further while answers pile up: on our side or on the client's."""
        full = len(self._queue) >= self.limits.pipeline or bool(self._waiting)
        self._pause_reading(full or self._write_deadline is not NEVER)

    def _time_out(self) -> None:
        if self.reading:
            part = "body" if self.in_body else "header"
            self.refuse(Problem(408, f"The request's {part} took too long to arrive.", reason="SlowRequest"))
        else:
            self.stop_reading()  # only the beginnings of a method, or empty lines
            self._close_if_done()

    # Endings

    def _close_if_done(self) -> None:
        if not self._queue and not self.reading:
            self._close()
