"""Questions to the users database: a user once at a time, many in one query, none while it is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from tenantry_router import metrics
from tenantry_router.users_database import CONNECTIONS, UsersDatabase, UsersUnavailable

logger = logging.getLogger(__name__)

_PER_QUERY = 100
_MOST_ASKED = 10_000
"""Users that are asked about at a time."""
_PAUSE_SECONDS = 1.0
"""After a failure; then one question finds out whether the database is back."""

UserKey = tuple[str, str]
"""Tenant and user."""


class Row(NamedTuple):
    """What the table told of a user."""

    model: str | None
    """None: it does not name the user."""
    asked: float
    """In the clock's time, before the question was sent: a change since then may not be in it."""


class UserLookUps:
    """For one event loop's thread. Who asks while all connections are busy goes with the next query."""

    def __init__(
        self,
        database: UsersDatabase,
        answered: Callable[[UserKey, Row], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`answered` gets every answer, whether or not somebody still waits for it."""
        self._database = database
        self._answered = answered
        self._clock = clock
        self._asked: dict[UserKey, asyncio.Future[Row]] = {}
        self._waiting: OrderedDict[str, list[str]] = OrderedDict()
        """Users by tenant; tenants take turns."""
        self._workers: set[asyncio.Task[None]] = set()
        self._failure = ""
        """Why the last question failed; empty where it did not."""
        self._again = 0.0

    @property
    def away(self) -> bool:
        """Whether the last question failed."""
        return bool(self._failure)

    def ask(self, key: UserKey) -> asyncio.Future[Row]:
        """The answer to come; shield it where the waiting may be cancelled.

        Raises UsersUnavailable, as the future may: at once while the database is known to be away.
        """
        known = self._asked.get(key)
        if known is not None:
            return known
        if self.away and (self._workers or self._clock() < self._again):
            raise UsersUnavailable("it did not answer a moment ago")
        if len(self._asked) >= _MOST_ASKED:
            raise UsersUnavailable("too many users are being looked up")
        future = self._asked[key] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda future: future.exception())  # perhaps nobody waits
        self._waiting.setdefault(key[0], []).append(key[1])
        if len(self._workers) < CONNECTIONS:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return future

    def retry_after(self) -> int:
        """Whole seconds until a question is worth while."""
        return max(1, round(self._again - self._clock() + 0.5))

    async def close(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await self._database.close()

    async def _work(self) -> None:
        while self._waiting:
            tenant, users = self._next()
            asked = self._clock()
            try:
                models = await self._database.models(tenant, users)
            except UsersUnavailable as error:
                self._failed(error, [(tenant, user) for user in users])
                return
            finally:
                metrics.USER_LOOK_UP_SECONDS.observe(self._clock() - asked)
            self._came_back()
            for user in users:
                self._tell((tenant, user), Row(models.get(user), asked))

    def _next(self) -> tuple[str, list[str]]:
        tenant, users = self._waiting.popitem(last=False)
        if len(users) > _PER_QUERY:
            self._waiting[tenant] = users[_PER_QUERY:]
        return tenant, users[:_PER_QUERY]

    def _tell(self, key: UserKey, row: Row) -> None:
        (metrics.USERS_UNKNOWN if row.model is None else metrics.USERS_FOUND).inc()
        self._answered(key, row)
        self._asked.pop(key).set_result(row)

    def _failed(self, error: UsersUnavailable, asked: list[UserKey]) -> None:
        """Whoever waits for a turn would wait in vain, too."""
        if str(error) != self._failure:
            logger.warning("the users database %s does not answer: %s", self._database.name, error)
        self._failure = str(error)
        self._again = self._clock() + _PAUSE_SECONDS
        asked += [(tenant, user) for tenant, users in self._waiting.items() for user in users]
        self._waiting.clear()
        metrics.USERS_FAILED.inc(len(asked))
        for key in asked:
            self._asked.pop(key).set_exception(UsersUnavailable(str(error)))

    def _came_back(self) -> None:
        if self.away:
            logger.info("the users database %s answers again", self._database.name)
        self._failure = ""
