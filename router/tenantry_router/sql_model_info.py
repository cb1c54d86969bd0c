"""Which model answers whom by a database: for more users than manifests can name."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from tenantry_core.problems import Problem
from tenantry_router.model import RoutedModel
from tenantry_router.model_info import Assignment, TableModelInfoRepository, tenant_of
from tenantry_router.table import Table, Tenant
from tenantry_router.user_lookups import Row, UserKey, UserLookUps
from tenantry_router.users_database import UsersDatabase, UsersUnavailable

HOLDS_SECONDS: Final = 10.0
"""How old an answer may be that a request is served by, as long as the database answers."""
_STALE_PATIENCE = 0.5
"""Seconds that a user whose answer is older waits for a newer one; then the old one serves."""
_REMEMBERED = 50_000
"""Users that have a row, and as many that have none; each takes about half a kilobyte."""


class SqlAlchemyModelInfoRepository:
    """`spec.users.ids` of the manifests, then the table `tenantry_users`, then prefixes and what is for all.

    The table is not asked for users of a tenant whose only model answers for everyone. Answers are
    remembered: after half of `HOLDS_SECONDS` they are asked for again while they still serve, after all of
    it a request waits for the new one. While the database is away the old ones go on.
    """

    def __init__(
        self,
        table: Table,
        database: UsersDatabase,
        remembered: int = _REMEMBERED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._manifests = TableModelInfoRepository(table)
        self._look_ups = UserLookUps(database, self._remember, clock)
        self._most = remembered
        self._clock = clock
        self._named: OrderedDict[UserKey, Row] = OrderedDict()
        self._unnamed: OrderedDict[UserKey, Row] = OrderedDict()
        """Apart, so that whoever makes up user ids drives nobody out who has a row."""

    def model_for(self, tenant: str, user: str | None) -> Assignment | None:
        known = tenant_of(self._table, tenant)
        if user is None or not _matters(known, user):
            return self._manifests.model_for(tenant, user)
        row = self._recall((tenant, user))
        if row is None:
            return None
        age = self._clock() - row.asked
        if age >= HOLDS_SECONDS / 2:
            self._ask_again((tenant, user))
        if age >= HOLDS_SECONDS and not self._look_ups.away:
            return None
        return self._assignment(known, tenant, user, row)

    async def look_up(self, tenant: str, user: str | None) -> Assignment:
        known = self.model_for(tenant, user)
        if known is not None or user is None:
            return known or self._manifests.model_for(tenant, user)
        row = await self._row((tenant, user))
        return self._assignment(tenant_of(self._table, tenant), tenant, user, row)

    async def close(self) -> None:
        await self._look_ups.close()

    async def _row(self, key: UserKey) -> Row:
        old = self._recall(key)
        try:
            answer = self._look_ups.ask(key)
            return await asyncio.wait_for(asyncio.shield(answer), _STALE_PATIENCE if old else None)
        except (UsersUnavailable, TimeoutError) as error:
            if old is not None:
                return old
            raise self._unavailable(key) from error

    def _ask_again(self, key: UserKey) -> None:
        try:
            self._look_ups.ask(key)
        except UsersUnavailable:
            return  # what is known serves on

    def _assignment(self, known: Tenant, tenant: str, user: str, row: Row) -> Assignment:
        until = row.asked + HOLDS_SECONDS / 2
        if row.model is None:
            found = self._without_row(tenant, user, row)
            return Assignment(
                found.model, f"the users database does not name {user!r}; {found.because}", until
            )
        model = _model_called(known, row.model)
        if model is None:
            raise Problem(
                404,
                f"The users database gives user {user!r} of tenant {tenant!r} the model {row.model!r}, "
                f"but {tenant!r} has no such model.",
                reason="UnknownModel",
            )
        return Assignment(model, f"the users database gives {user!r} the model {row.model!r}", until)

    def _without_row(self, tenant: str, user: str, row: Row) -> Assignment:
        try:
            return self._manifests.model_for(tenant, user)
        except Problem as problem:
            if self._clock() - row.asked < HOLDS_SECONDS:
                raise
            raise self._unavailable((tenant, user)) from problem  # there may be a row by now

    def _unavailable(self, key: UserKey) -> Problem:
        return Problem(
            503,
            f"It cannot be told now which model answers for user {key[1]!r} of tenant {key[0]!r}: "
            "the users database does not answer.",
            reason="UsersUnavailable",
            retry_after=self._look_ups.retry_after(),
        )

    def _recall(self, key: UserKey) -> Row | None:
        for rows in (self._named, self._unnamed):
            row = rows.get(key)
            if row is not None:
                rows.move_to_end(key)
                return row
        return None

    def _remember(self, key: UserKey, row: Row) -> None:
        here, other = self._named, self._unnamed
        if row.model is None:
            here, other = other, here
        other.pop(key, None)
        here[key] = row
        here.move_to_end(key)
        if len(here) > self._most:
            here.popitem(last=False)


def _matters(known: Tenant, user: str) -> bool:
    """Whether a row could decide: not where a manifest names the user, or there is nothing to choose."""
    if len(known.models) == 1 and known.unfiltered:
        return False
    return known.ids.owner(user) is None


def _model_called(known: Tenant, name: str) -> RoutedModel | None:
    """A model of the tenant by its resource's name or by `namespace.name`."""
    return known.models.get(name) or next((m for m in known.models.values() if m.name == name), None)
