"""What holds for every ModelInfoRepository, wherever it learns who has which model."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from integration.router.processes import entry
from integration.users.worlds import Database, Manifests, World
from tenantry_core.names import is_user_id
from tenantry_core.slices import Users
from tenantry_router import users_database

Scenario = Callable[[World], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]

_SECONDS = 60.0


@pytest.fixture(autouse=True)
def time_for_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_database, "_SECONDS", 20.0)


@pytest.fixture(params=["manifests", "sqlite", "postgres"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a scenario in a world of its own."""
    postgres = request.getfixturevalue("postgres") if request.param == "postgres" else None
    url = postgres.url if postgres else f"sqlite:///{tmp_path}/users.db"

    async def world(scenario: Scenario) -> None:
        async with asyncio.timeout(_SECONDS):
            if request.param == "manifests":
                await scenario(Manifests())
                return
            made = Database(url)
            await made.users.create()
            try:
                await scenario(made)
            finally:
                await made.close()

    return lambda scenario: asyncio.run(world(scenario))


def test_each_user_has_the_model_that_they_were_given(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.give("shop", "7", "gold")
        await world.give("shop", "8", "silver")
        await world.give("bank", "7", "vault")
        assert await world.model("shop", "7") == "gold"
        assert await world.model("shop", "8") == "silver"
        assert await world.model("bank", "7") == "vault"

    run(scenario)


def test_what_was_told_once_is_known_at_once_and_says_why(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.give("shop", "7", "gold")
        told = await world.ask("shop", "7")
        known = world.repository.model_for("shop", "7")
        assert known is not None
        assert (known.model, known.because) == (told.model, told.because)
        assert "'7'" in known.because
        assert known.until > world.now

    run(scenario)


def test_nobody_else_is_known(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.give("shop", "Ann", "gold")
        for user in ("ann", "ANN", "Ann.", "An", "%", "'; DROP TABLE tenantry_users; --"):
            problem = await world.refusal("shop", user)
            assert (problem.status, problem.reason) == (404, "UnknownUser")
        assert (await world.refusal("bank", "Ann")).reason == "UnknownUser"
        assert (await world.refusal("pub", "Ann")).reason == "UnknownTenant"
        assert (await world.refusal("shop", None)).reason == "UnknownUser"
        assert await world.model("shop", "Ann") == "gold"

    run(scenario)


def test_a_user_who_is_given_another_model_gets_it(run: Run) -> None:
    async def scenario(world: World) -> None:
        assert (await world.refusal("shop", "7")).status == 404
        for model in ("gold", "silver", "gold"):
            await world.give("shop", "7", model)
            world.later()
            assert await world.model("shop", "7") == model
        await world.take("shop", "7")
        world.later()
        assert (await world.refusal("shop", "7")).reason == "UnknownUser"

    run(scenario)


def test_who_is_named_goes_before_a_prefix_and_a_prefix_before_the_model_for_everyone(run: Run) -> None:
    async def scenario(world: World) -> None:
        world.add(entry("models.vips", ("default-0",), tenant="shop", users=Users(prefixes=("vip-",))))
        world.add(entry("models.rest", ("default-0",), tenant="shop"))
        await world.give("shop", "vip-1", "gold")
        assert await world.model("shop", "vip-1") == "gold"
        assert await world.model("shop", "vip-2") == "vips"
        assert await world.model("shop", "9") == "rest"
        assert await world.model("shop", None) == "rest"
        world.add(entry("models.other", ("default-0",), tenant="shop"))
        assert (await world.refusal("shop", "9")).reason == "Ambiguous"
        assert await world.model("shop", "vip-1") == "gold"

    run(scenario)


def test_a_model_that_is_deleted_serves_nobody(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.give("shop", "7", "gold")
        await world.give("shop", "8", "silver")
        assert await world.model("shop", "7") == "gold"
        world.delete("models.gold")
        assert (await world.refusal("shop", "7")).status == 404
        assert await world.model("shop", "8") == "silver"

    run(scenario)


def test_every_id_that_a_user_may_have_is_taken_as_it_is(run: Run) -> None:
    ids = ["a" * 128, ".a", "a:b@c~d", "~", "1e5", "0x7", "007", "7.0", "-1", "NULL", "true"]
    ids += [_example(seed) for seed in range(20)]

    async def scenario(world: World) -> None:
        for number, user in enumerate(dict.fromkeys(ids)):
            await world.give("shop", user, ("gold", "silver")[number % 2])
        for number, user in enumerate(dict.fromkeys(ids)):
            assert await world.model("shop", user) == ("gold", "silver")[number % 2], user

    run(scenario)


def _example(seed: int) -> str:
    """A user id that nobody thought of, the same in every run."""
    generator = random.Random(seed)
    letters = "ABCXYZabcxyz0189._~:@-"
    while True:
        user = "".join(generator.choices(letters, k=generator.randint(1, 20)))
        if is_user_id(user):
            return user


def test_a_thousand_at_a_time_each_get_their_own(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.give("bank", "5", "vault")
        for number in range(20):
            await world.give("shop", f"u{number}", ("gold", "silver")[number % 2])
        asked = [world.model("shop", f"u{number % 20}") for number in range(1000)]
        asked.append(world.model("bank", "5"))
        *answers, last = await asyncio.gather(*asked)
        assert answers == [("gold", "silver")[number % 2] for number in range(1000)]
        assert last == "vault"

    run(scenario)
