"""A reply for whoever waits in a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tenantry_core.http.messages import Response


class FutureReply:
    """A `Reply` that a coroutine awaits."""

    def __init__(self) -> None:
        self.on_disconnect: Callable[[], None] | None = None
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def send(self, response: Response) -> None:
        if not self.answer.cancelled():
            self.answer.set_result(response)
