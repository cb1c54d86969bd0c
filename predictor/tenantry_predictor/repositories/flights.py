"""Single flight: however many ask for a thing at a time, it is loaded once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

K = TypeVar("K")
V = TypeVar("V")
Held = TypeVar("Held", contravariant=True)


class Holder(Protocol[Held]):
    """Counts who uses a value."""

    def hold(self, value: Held, /) -> None: ...

    def release(self, value: Held, /) -> None: ...


class _Flight(Generic[V]):
    __slots__ = ("started", "task", "waiters")

    def __init__(self) -> None:
        self.waiters: set[asyncio.Future[V]] = set()
        self.started = False
        self.task: asyncio.Task[V] | None = None

    def start(self) -> None:
        self.started = True


class Flights(Generic[K, V]):
    """Every waiter gets the value with a hold of its own; the flight's own hold ends with it."""

    def __init__(
        self, fly: Callable[[K, Callable[[], None]], Coroutine[Any, Any, V]], holder: Holder[V]
    ) -> None:
        """`fly` loads for a key and returns a held value; it calls its second argument once it has begun."""
        self._fly = fly
        self._holder = holder
        self._flights: dict[K, _Flight[V]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def join(self, key: K) -> V:
        """The value, to be released by the caller, or the exception of the flight.

        When the last waiter leaves before the work has begun, there is no flight any more; one that has
        begun comes to its end, for what it loads is wanted again soon.
        """
        flight = self._flights.get(key) or self._take_off(key)
        waiter: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        flight.waiters.add(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._leave(flight, waiter)
            raise

    def _take_off(self, key: K) -> _Flight[V]:
        flight = self._flights[key] = _Flight()
        flight.task = asyncio.create_task(self._fly(key, flight.start))
        flight.task.add_done_callback(lambda task: self._land(key, flight, task))
        return flight

    def _leave(self, flight: _Flight[V], waiter: asyncio.Future[V]) -> None:
        flight.waiters.discard(waiter)
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self._holder.release(waiter.result())
        if not flight.waiters and not flight.started and flight.task is not None:
            flight.task.cancel()

    def _land(self, key: K, flight: _Flight[V], task: asyncio.Task[V]) -> None:
        del self._flights[key]
        waiters = [waiter for waiter in flight.waiters if not waiter.done()]
        error = None if task.cancelled() else task.exception()
        for waiter in waiters:
            if task.cancelled():
                waiter.cancel()
            elif error is not None:
                waiter.set_exception(error)
            else:
                self._holder.hold(task.result())
                waiter.set_result(task.result())
        if not task.cancelled() and error is None:
            self._holder.release(task.result())
