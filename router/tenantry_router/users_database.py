"""The table `tenantry_users` of a database: which model each user has, for those that manifests do not name.

    CREATE TABLE tenantry_users (
        tenant  VARCHAR(63)  NOT NULL,
        user_id VARCHAR(128) NOT NULL,
        model   VARCHAR(127) NOT NULL,
        PRIMARY KEY (tenant, user_id)
    )

A view of this name and these columns does as well: nothing is ever written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Column, MetaData, String, Table, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

CONNECTIONS = 4
"""Of each router process, opened when they are needed."""
_SECONDS = 2.0
"""For one query, with connecting."""
_DRIVERS = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}
"""Which driver reads a URL that names none."""

_USERS = Table(
    "tenantry_users",
    MetaData(),
    Column("tenant", String(63), primary_key=True),
    Column("user_id", String(128), primary_key=True),
    Column("model", String(127), nullable=False),
)


class UrlRefused(ValueError):
    """The database cannot be used by this URL; the message is a sentence without its password."""


class UsersUnavailable(Exception):
    """The database did not answer, or not in time. The message is for the log, not for callers."""


class UsersDatabase:
    """Reads users; the connections are its own. Nothing is opened before the first question."""

    def __init__(self, url: str) -> None:
        """`url` as SQLAlchemy writes it. Raises UrlRefused."""
        self._engine = _engine(url)
        self.name = self._engine.url.render_as_string(hide_password=True)

    async def models(self, tenant: str, users: Sequence[str]) -> dict[str, str]:
        """The models by user of those `users` that have one. Raises UsersUnavailable within two seconds."""
        task = asyncio.create_task(self._read(tenant, users))
        done, _ = await asyncio.wait({task}, timeout=_SECONDS)
        if not done:
            task.cancel()  # which a driver may answer late, too
            raise UsersUnavailable(f"no answer within {_SECONDS:g} s")
        if task.cancelled():
            raise UsersUnavailable("the driver gave up")
        error = task.exception()  # drivers have exceptions of their own
        if error is not None:
            raise UsersUnavailable(_in_a_line(error)) from error
        return task.result()

    async def close(self) -> None:
        with suppress(TimeoutError, OSError, SQLAlchemyError):
            async with asyncio.timeout(_SECONDS):
                await self._engine.dispose()

    async def _read(self, tenant: str, users: Sequence[str]) -> dict[str, str]:
        query = select(_USERS.c.user_id, _USERS.c.model).where(
            _USERS.c.tenant == tenant, _USERS.c.user_id.in_(users)
        )
        async with self._engine.connect() as connection:
            found = {row.user_id: row.model for row in await connection.execute(query)}
        # There are collations that take 'Bob' for 'bob'; here they are two.
        return {user: found[user] for user in users if found.get(user) is not None}


def check_url(url: str) -> None:
    """Raises UrlRefused for one that could not be used whatever the database does."""
    _engine(url)


def _engine(text: str) -> AsyncEngine:
    url = _url(text)
    try:
        return create_async_engine(
            url,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",  # one statement at a time: BEGIN and ROLLBACK would be two more
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise UrlRefused(
            f"The driver of {url.drivername}:// is not installed here: add the package {error.name!r}."
        ) from error
    except SQLAlchemyError as error:
        raise UrlRefused(
            f"The users database cannot be used by {url.drivername}://: {_in_a_line(error)}."
        ) from error


def _url(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # its message would show the password
        raise UrlRefused(
            "The URL of the users database is none: write it as postgresql://user:password@host/database."
        ) from error
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise UrlRefused("A users database in memory holds no users: write sqlite:////path/to/users.db.")
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def _in_a_line(error: BaseException) -> str:
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
