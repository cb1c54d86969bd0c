"""Requests whose user is being looked up: the only ones that cost a task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from tenantry_core.http.encoding import FAILED, problem_response
from tenantry_core.http.messages import Reply
from tenantry_core.problems import Problem
from tenantry_router import metrics
from tenantry_router.destination import Destination

logger = logging.getLogger(__name__)

LookUp = Callable[[], Coroutine[Any, Any, Destination]]

_LATE = Problem(504, "The request's time was up before its user was looked up.", reason="DeadlineExceeded")


class Waiting:
    """Keeps them until they go on their way, are refused, or their client is gone."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def add(
        self,
        reply: Reply,
        look_up: LookUp,
        deadline: float,
        forward: Callable[[Destination], None],
    ) -> None:
        """Call `forward` with what `look_up` finds, in time for `deadline`; both may raise Problem."""
        task = asyncio.create_task(_go_on(reply, look_up, deadline, forward))
        self._tasks.add(task)
        reply.on_disconnect = lambda: _drop(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("looking up a user failed", exc_info=error)
                _refuse(reply, FAILED)

        task.add_done_callback(ended)


async def _go_on(
    reply: Reply,
    look_up: LookUp,
    deadline: float,
    forward: Callable[[Destination], None],
) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            destination = await look_up()
        forward(destination)
    except Problem as problem:
        _refuse(reply, problem)
    except TimeoutError:
        _refuse(reply, _LATE)


def _refuse(reply: Reply, problem: Problem) -> None:
    metrics.count_refusal(problem)
    reply.send(problem_response(problem))


def _drop(task: asyncio.Task[None]) -> None:
    """The client is gone."""
    task.cancel()
