"""Repositories over a table of models, each with the place where users are given their models."""

from __future__ import annotations

import msgspec

from integration.router.processes import entry
from integration.users.databases import UsersTable
from tenantry_core.problems import Problem
from tenantry_core.slices import Entry, SliceContent, Users
from tenantry_router.model_info import Assignment, ModelInfoRepository, TableModelInfoRepository
from tenantry_router.sql_model_info import HOLDS_SECONDS, SqlAlchemyModelInfoRepository
from tenantry_router.table import Table
from tenantry_router.users_database import UsersDatabase

NOBODY = Users(ids=("a-user-who-never-asks",))
MODELS = (
    entry("models.gold", ("default-0",), tenant="shop", users=NOBODY),
    entry("models.silver", ("default-0",), tenant="shop", users=NOBODY),
    entry("models.vault", ("default-0",), tenant="bank", users=NOBODY),
)


class World:
    """The models `gold` and `silver` of the tenant `shop` and `vault` of `bank`; none is for everyone."""

    def __init__(self) -> None:
        self.table = Table()
        self.now = 1000.0
        self.entries = {each.model: each for each in MODELS}
        self.route()

    @property
    def repository(self) -> ModelInfoRepository:
        raise NotImplementedError

    async def give(self, tenant: str, user: str, model: str) -> None:
        raise NotImplementedError

    async def take(self, tenant: str, user: str) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        await self.repository.close()

    def add(self, model: Entry) -> None:
        self.entries[model.model] = model
        self.route()

    def delete(self, model: str) -> None:
        del self.entries[model]
        self.route()

    def route(self) -> None:
        self.table.set_slice("placement-0-0", SliceContent(tuple(self.entries.values())))

    def later(self) -> None:
        """What is remembered has become too old."""
        self.now += HOLDS_SECONDS

    async def ask(self, tenant: str, user: str | None) -> Assignment:
        known = self.repository.model_for(tenant, user)
        return known or await self.repository.look_up(tenant, user)

    async def model(self, tenant: str, user: str | None) -> str:
        return (await self.ask(tenant, user)).model.name

    async def refusal(self, tenant: str, user: str | None) -> Problem:
        try:
            found = await self.ask(tenant, user)
        except Problem as problem:
            return problem
        raise AssertionError(f"{found.model.key} answers: {found.because}")


class Manifests(World):
    """`spec.users.ids` of the models."""

    def __init__(self) -> None:
        super().__init__()
        self._repository = TableModelInfoRepository(self.table)

    @property
    def repository(self) -> ModelInfoRepository:
        return self._repository

    async def give(self, tenant: str, user: str, model: str) -> None:
        await self.take(tenant, user)
        known = self.entries[f"models.{model}"]
        assert known.tenant == tenant
        users = Users((*known.users.ids, user), known.users.prefixes)
        self.add(msgspec.structs.replace(known, users=users, revision=known.revision + 1))

    async def take(self, tenant: str, user: str) -> None:
        for known in [e for e in self.entries.values() if e.tenant == tenant and user in e.users.ids]:
            ids = tuple(each for each in known.users.ids if each != user)
            users = Users(ids, known.users.prefixes)
            self.add(msgspec.structs.replace(known, users=users, revision=known.revision + 1))


class Database(World):
    """Rows of a real database."""

    def __init__(self, url: str, remembered: int = 1000) -> None:
        super().__init__()
        self.users = UsersTable(url)
        self._repository = SqlAlchemyModelInfoRepository(
            self.table, UsersDatabase(url), remembered, clock=lambda: self.now
        )

    @property
    def repository(self) -> SqlAlchemyModelInfoRepository:
        return self._repository

    async def give(self, tenant: str, user: str, model: str) -> None:
        await self.users.give(tenant, user, model)

    async def take(self, tenant: str, user: str) -> None:
        await self.users.take(tenant, user)

    async def close(self) -> None:
        await super().close()
        await self.users.close()
