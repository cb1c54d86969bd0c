"""Both clients, behind the calls of one: what is tested of either is tested of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tenantry import AsyncClient, Client

Connect = Callable[..., Any]
"""The arguments of a client -> something with the calls of `Client`."""


class Awaited:
    """An AsyncClient whose calls are awaited in an event loop of their own."""

    def __init__(self, portal: BlockingPortal, client: AsyncClient) -> None:
        self._portal = portal
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **more: self._portal.call(lambda: method(*args, **more))


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with ExitStack() as open_until_the_end:

        def connected(*args: Any, **more: Any) -> Any:
            if request.param == "Client":
                return open_until_the_end.enter_context(Client(*args, **more))
            portal = open_until_the_end.enter_context(start_blocking_portal())

            async def opened() -> AsyncClient:
                return AsyncClient(*args, **more)

            client = portal.call(opened)
            open_until_the_end.callback(lambda: portal.call(client.aclose))
            return Awaited(portal, client)

        yield connected
