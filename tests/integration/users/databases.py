"""The table of users in a real database, made as the documentation says."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

_GUIDE = Path(__file__).resolve().parents[3] / "docs/users.md"


def statements(beginning: str) -> list[str]:
    """The SQL of the guide that begins so."""
    blocks = re.findall(r"^```sql\n(.*?)^```", _GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    each = [one.strip() for block in blocks for one in block.split(";")]
    return [one for one in each if one.startswith(beginning)]


class UsersTable:
    """Rows of `tenantry_users`, written by whoever owns them: not by Tenantry."""

    def __init__(self, url: str) -> None:
        driver = "postgresql+asyncpg" if url.startswith("postgresql") else "sqlite+aiosqlite"
        self._engine = create_async_engine(driver + url[url.index(":") :], poolclass=NullPool)

    async def create(self) -> None:
        await self.execute("DROP TABLE IF EXISTS tenantry_users")
        [create] = statements("CREATE TABLE")
        await self.execute(create)

    async def give(self, tenant: str, user: str, model: str) -> None:
        await self.take(tenant, user)
        await self.execute(
            "INSERT INTO tenantry_users (tenant, user_id, model) VALUES (:tenant, :user, :model)",
            tenant=tenant,
            user=user,
            model=model,
        )

    async def take(self, tenant: str, user: str) -> None:
        await self.execute(
            "DELETE FROM tenantry_users WHERE tenant = :tenant AND user_id = :user", tenant=tenant, user=user
        )

    async def execute(self, statement: str, **values: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(statement), values)

    async def close(self) -> None:
        await self._engine.dispose()
