"""A router that reads its users from a database, as callers and operators see it."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from integration.router.processes import (
    ServerProcess,
    address,
    entry,
    http,
    start_router,
    start_upstream,
    wait_until,
    write_snapshot,
)
from integration.users.databases import UsersTable, statements
from integration.users.postgres import PASSWORD, Postgres
from integration.users.worlds import MODELS
from load.target import post
from tenantry_router.users_database import UrlRefused, check_url

SLOTS = ("default-0",)


@dataclass
class World:
    router: ServerProcess
    users: UsersTable
    postgres: Postgres

    def model(self, user: str, tenant: str = "shop") -> str:
        """Which model a prediction is asked of."""
        answer = self.predict(user, tenant)
        assert answer.status_code == 200, answer.text
        model: str = dict(answer.json()["headers"])["tenantry-model"]
        return model.removeprefix("models.")

    def predict(self, user: str, tenant: str = "shop", **headers: str) -> httpx.Response:
        return http.post(f"{self.router.url}/predict/{tenant}:{user}", json=[[1]], headers=headers)

    def give(self, user: str, model: str) -> None:
        asyncio.run(self.users.give("shop", user, model))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("users")
    users = UsersTable(postgres.url)
    asyncio.run(users.create())
    models = (*MODELS, entry("models.mine", SLOTS, uri="s3://models/mine/{user_id}.onnx", tenant="shop"))
    with ExitStack() as stack:
        upstream = stack.enter_context(start_upstream(SLOTS[0], folder))
        snapshot = write_snapshot(folder / "snapshot", models, [address(SLOTS[0], upstream.port)])
        environment = {"TENANTRY_USERS_DATABASE": postgres.url}
        router = stack.enter_context(start_router(snapshot.path, environment=environment))
        world = World(router, users, postgres)
        wait_until(lambda: world.predict("anybody").status_code != 503, 60.0, "the database is asked")
        yield world


def test_a_row_decides_and_explain_says_so(world: World) -> None:
    world.give("1", "gold")
    assert world.model("1") == "gold"
    answer = http.get(f"{world.router.url}/explain/shop:1").json()
    assert (answer["model"], answer["slot"]) == ("models.gold", "default-0")
    assert answer["because"] == "the users database gives '1' the model 'gold'"
    other = http.get(f"{world.router.url}/explain/shop:nobody").json()
    assert other["because"] == (
        "the users database does not name 'nobody'; it answers for every user of the tenant"
    )


def test_a_row_may_name_a_model_per_user(world: World) -> None:
    world.give("2", "mine")
    headers = dict(world.predict("2").json()["headers"])
    assert headers["tenantry-artifact"] == "s3://models/mine/2.onnx"


def test_a_remap_takes_effect_within_ten_seconds_and_nobody_is_refused_meanwhile(world: World) -> None:
    world.give("3", "gold")
    assert world.model("3") == "gold"
    world.give("3", "silver")
    wait_until(lambda: world.model("3") == "silver", 60.0, "the other model answers")


def test_while_the_database_hangs_known_users_go_on(world: World) -> None:
    world.give("4", "gold")
    assert world.model("4") == "gold"
    world.postgres.hang()
    try:
        late = world.predict("hasty", **{"Tenantry-Timeout": "100ms"})
        assert (late.status_code, late.json()["reason"]) == (504, "DeadlineExceeded")
        refused = world.predict("5")
        assert (refused.status_code, refused.json()["reason"]) == (503, "UsersUnavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert world.model("4") == "gold"
        assert world.predict("7", tenant="nobodys").status_code == 404
    finally:
        world.postgres.restore()
    world.give("5", "silver")
    wait_until(lambda: world.predict("5").status_code == 200, 60.0, "the database is asked again")
    assert PASSWORD not in world.router.log.read_text()
    assert "users:***@" in world.router.log.read_text()


def test_a_client_that_goes_away_while_its_user_is_looked_up_is_forgotten(world: World) -> None:
    world.postgres.hang()
    try:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", world.router.port)) as connection:
                connection.sendall(post("/predict/shop:gone", b"[[1]]"))
    finally:
        world.postgres.restore()
    wait_until(lambda: world.predict("gone").status_code == 200, 60.0, "it serves")
    assert "Traceback" not in world.router.log.read_text()


def test_whoever_may_only_read_the_table_can_be_the_routers_account(world: World) -> None:
    """As the guide grants it."""

    async def grant() -> None:
        await world.users.execute("DROP ROLE IF EXISTS tenantry")
        for statement in (*statements("CREATE ROLE"), *statements("GRANT")):
            await world.users.execute(statement)

    asyncio.run(grant())


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "write it as postgresql://user:password@host/database"),
        ("postgresql://u:hidden@host:port/db", "write it as postgresql://user:password@host/database"),
        ("mysql+asyncmy://u:hidden@host/db", "add the package 'asyncmy'"),
        ("postgresql+psycopg2://u:hidden@host/db", "psycopg2"),
        ("oracle17://u:hidden@host/db", "oracle17"),
        ("sqlite://", "in memory holds no users"),
    ],
)
def test_a_url_that_can_never_work_is_refused_with_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(UrlRefused, match=re.escape(sentence)) as refused:
        check_url(url)
    assert "hidden" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_router_does_not_start_with_such_a_url(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tenantry_router", "--snapshot", str(tmp_path)]
    url = "mysql+asyncmy://u:hidden@host/db"
    ended = subprocess.run(
        [*command, "--users-database", url], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 1
    assert (
        ended.stderr == "The driver of mysql+asyncmy:// is not installed here: add the package 'asyncmy'.\n"
    )
