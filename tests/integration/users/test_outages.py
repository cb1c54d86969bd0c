"""The users database goes, hangs or comes back: known users do not notice, others are told to come again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from integration.router.processes import entry
from integration.users.postgres import Postgres
from integration.users.worlds import Database
from tenantry_core.http.metrics import metrics_response
from tenantry_core.problems import Problem
from tenantry_core.slices import Users
from tenantry_router import sql_model_info, users_database

Scenario = Callable[[Database], Coroutine[Any, Any, None]]

_SECONDS = 60.0


def run(server: Postgres, scenario: Scenario, remembered: int = 1000) -> None:
    async def limited() -> None:
        async with asyncio.timeout(_SECONDS):
            world = Database(server.url, remembered)
            await world.users.create()
            await world.give("shop", "7", "gold")
            await world.give("shop", "8", "silver")
            try:
                await scenario(world)
            finally:
                server.restore()
                await world.close()

    asyncio.run(limited())


async def back(world: Database, user: str) -> str:
    """Who is told to come again does, until there is an answer."""
    while True:
        try:
            return await world.model("shop", user)
        except Problem as problem:
            if problem.reason != "UsersUnavailable":
                raise
        await asyncio.sleep(0.05)
        world.now += 0.05


@pytest.mark.parametrize("how", [Postgres.stop, Postgres.hang], ids=["is gone", "hangs"])
def test_known_users_go_on_and_others_are_told_to_come_again(
    postgres: Postgres, how: Callable[[Postgres], None]
) -> None:
    async def scenario(world: Database) -> None:
        assert await world.model("shop", "7") == "gold"
        assert (await world.refusal("shop", "9")).reason == "UnknownUser"
        how(postgres)
        world.later()
        for _ in range(50):
            assert await world.model("shop", "7") == "gold"
            world.later()
        for user in ("8", "9"):
            problem = await world.refusal("shop", user)
            assert (problem.status, problem.reason) == (503, "UsersUnavailable")
            assert problem.retry_after in (1, 2)
        postgres.restore()
        assert await back(world, "8") == "silver"
        world.later()
        await world.give("shop", "7", "silver")
        while await world.model("shop", "7") != "silver":
            world.later()

    run(postgres, scenario)


def test_a_hung_database_is_found_out_by_one_question_and_nobody_else_waits(postgres: Postgres) -> None:
    async def scenario(world: Database) -> None:
        assert await world.model("shop", "8") == "silver"
        before = failed_questions()
        postgres.hang()
        first = asyncio.create_task(world.refusal("shop", "7"))
        served = 0
        while not first.done():  # two seconds, in which the event loop goes on
            await asyncio.sleep(0.01)
            served += await world.model("shop", "8") == "silver"
        assert served > 10
        others = await asyncio.gather(*(world.refusal("shop", f"u{number}") for number in range(200)))
        assert {problem.reason for problem in others} == {"UsersUnavailable"}
        assert failed_questions() == before + 1

    run(postgres, scenario)


def test_a_known_user_does_not_wait_for_the_database_to_be_given_up(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users_database, "_SECONDS", _SECONDS)
    monkeypatch.setattr(sql_model_info, "_STALE_PATIENCE", 0.1)

    async def scenario(world: Database) -> None:
        assert await world.model("shop", "7") == "gold"
        before = failed_questions()
        postgres.hang()
        world.later()
        assert await world.model("shop", "7") == "gold"
        assert failed_questions() == before  # nobody has given up yet

    run(postgres, scenario)


def failed_questions() -> int:
    found = re.search(
        r'^tenantry_router_user_lookups_total\{outcome="failed"\} (\S+)$',
        metrics_response().body.decode(),
        re.MULTILINE,
    )
    return int(float(found[1])) if found else 0


def test_connections_that_the_database_closed_are_replaced_unnoticed(postgres: Postgres) -> None:
    async def scenario(world: Database) -> None:
        assert await world.model("shop", "7") == "gold"
        postgres.stop()
        postgres.start()
        assert await world.model("shop", "8") == "silver"

    run(postgres, scenario)


def test_who_is_served_by_the_model_for_everyone_is_known_too(postgres: Postgres) -> None:
    async def scenario(world: Database) -> None:
        world.add(entry("models.rest", ("default-0",), tenant="shop"))
        assert await world.model("shop", "9") == "rest"
        postgres.stop()
        world.later()
        assert await world.model("shop", "9") == "rest"
        assert (await world.refusal("shop", "10")).reason == "UsersUnavailable"

    run(postgres, scenario)


def test_without_a_choice_or_with_a_name_in_the_manifest_no_database_is_needed(postgres: Postgres) -> None:
    async def scenario(world: Database) -> None:
        postgres.stop()
        world.add(entry("models.only", ("default-0",), tenant="single"))
        world.add(entry("models.named", ("default-0",), tenant="shop", users=Users(ids=("vip",))))
        assert await world.model("single", "anybody") == "only"
        assert await world.model("shop", "vip") == "named"
        assert (await world.refusal("shop", "7")).reason == "UsersUnavailable"

    run(postgres, scenario)


def test_what_is_remembered_is_bounded_and_made_up_ids_drive_out_nobody_who_has_a_row(
    postgres: Postgres,
) -> None:
    async def scenario(world: Database) -> None:
        assert await world.model("shop", "7") == "gold"
        for number in range(50):
            assert (await world.refusal("shop", f"made-up-{number}")).status == 404
        assert world.repository.model_for("shop", "7") is not None
        assert world.repository.model_for("shop", "made-up-0") is None  # forgotten: only a question can tell
        for number in range(10):
            await world.give("shop", f"real-{number}", "silver")
            assert await world.model("shop", f"real-{number}") == "silver"
        assert world.repository.model_for("shop", "7") is None

    run(postgres, scenario, remembered=10)


@pytest.mark.parametrize("model", ["vault", "models.vault", "nowhere", "gold;", "blue.gold"])
def test_a_row_that_names_no_model_of_the_tenant_serves_nobody(postgres: Postgres, model: str) -> None:
    async def scenario(world: Database) -> None:
        await world.give("shop", "1", model)
        problem = await world.refusal("shop", "1")
        assert (problem.status, problem.reason) == (404, "UnknownModel")
        assert repr(model) in problem.error

    run(postgres, scenario)


def test_a_model_may_be_named_with_its_namespace(postgres: Postgres) -> None:
    async def scenario(world: Database) -> None:
        await world.give("shop", "1", "models.gold")
        assert await world.model("shop", "1") == "gold"

    run(postgres, scenario)
