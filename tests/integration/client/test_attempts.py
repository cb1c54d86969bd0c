"""Broken connections, refusals and deadlines, with a server that behaves as it is told."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from cluster.ports import free_ports
from integration.client.conftest import Connect
from integration.client.scripted import BREAK, HANG, Reply, Scripted
from tenantry import TenantryError
from tenantry.client.errors import (
    Ambiguous,
    BadRequest,
    DeadlineExceeded,
    InvalidInput,
    NotAuthorized,
    NotFound,
    ServerFailed,
    TooManyRequests,
    Unavailable,
    Unreachable,
)

ROWS = [[1.0]]


def problem(status: int, sentence: str, reason: str = "", **headers: str) -> Reply:
    document = {"title": "As HTTP says", "status": status, "error": sentence, "reason": reason}
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, document, {"Content-Type": "application/problem+json", **fields})


FIRST_LOAD = problem(503, "The model is being loaded.", "FirstLoad", Retry_After="0")


@pytest.mark.parametrize("first", [BREAK, FIRST_LOAD], ids=["a broken connection", "503 with Retry-After"])
def test_a_call_is_made_once_more(connect: Connect, first: Reply | str) -> None:
    with Scripted(first, Reply()) as server:
        assert connect(server.url).predict("acme", ROWS).tolist() == [1.0]
        assert [asked.body for asked in server.asked] == [b"[[1.0]]"] * 2


@pytest.mark.parametrize(
    ("always", "raised"), [(BREAK, Unreachable), (FIRST_LOAD, Unavailable)], ids=["broken", "503"]
)
def test_and_no_more_than_once(connect: Connect, always: Reply | str, raised: type[TenantryError]) -> None:
    with Scripted(always) as server:
        client = connect(server.url)
        with pytest.raises(raised):
            client.predict("acme", ROWS)
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        problem(503, "The pool is gone.", "PoolNotFound"),
        problem(503, "Not in time.", "FirstLoad", Retry_After="60"),
        problem(500, "The model crashed."),
        problem(429, "Slower, please.", Retry_After="0"),
    ],
    ids=["503 without Retry-After", "Retry-After past the deadline", "500", "429"],
)
def test_what_would_not_help_is_not_tried(connect: Connect, refusal: Reply) -> None:
    with Scripted(refusal, Reply()) as server:
        client = connect(server.url, timeout=5.0)
        with pytest.raises(TenantryError):
            client.predict("acme", ROWS)
        assert len(server.asked) == 1


def test_the_router_is_told_how_long_the_caller_waits_and_what_is_left_of_it(connect: Connect) -> None:
    with Scripted(problem(503, "Later.", Retry_After="1"), Reply()) as server:
        connect(server.url, timeout=60.0).predict("acme", ROWS, timeout=20.0)
        first, second = (int(asked.headers["tenantry-timeout"].removesuffix("ms")) for asked in server.asked)
        assert 10_000 < first <= 20_000
        assert second <= first - 1000


def test_a_server_that_hangs_costs_the_timeout_and_no_more(connect: Connect) -> None:
    with Scripted(HANG) as server:
        client = connect(server.url, timeout=1.5)
        with pytest.raises(DeadlineExceeded, match=r"did not answer within 1\.\d+ s") as raised:
            client.predict("acme", ROWS)
        assert raised.value.status is None
        assert len(server.asked) == 1


def test_nothing_there_is_a_sentence(connect: Connect) -> None:
    [port] = free_ports(1)
    client = connect(f"http://127.0.0.1:{port}")
    with pytest.raises(Unreachable, match="is the router up there"):
        client.predict("acme", ROWS)
    assert client.ready() is False


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, NotAuthorized),
        (403, NotAuthorized),
        (404, NotFound),
        (409, Ambiguous),
        (413, BadRequest),
        (422, InvalidInput),
        (429, TooManyRequests),
        (500, ServerFailed),
        (502, ServerFailed),
        (503, Unavailable),
        (504, DeadlineExceeded),
    ],
)
def test_a_refusal_carries_the_problem(connect: Connect, status: int, kind: type[TenantryError]) -> None:
    with Scripted(problem(status, "This is why.", "AWord", Retry_After="70")) as server:
        client = connect(server.url)
        with pytest.raises(TenantryError) as raised:
            client.predict("acme", ROWS)
    error = raised.value
    assert type(error) is kind
    assert (str(error), error.status, error.reason, error.retry_after) == (
        "This is why.",
        status,
        "AWord",
        70,
    )
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.reason) == (kind, error.message, error.reason)


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (Reply(200, b"<html>hello</html>"), "none of a Tenantry router"),
        (Reply(200, {"a": 1}), "none of a Tenantry router"),
        (Reply(404, b"<html>no such page</html>"), "no such page"),
        (Reply(302, b"", {"Location": "http://127.0.0.1:1/"}), "HTTP 302"),
    ],
    ids=["a page", "no list", "another server's 404", "a redirect"],
)
def test_what_is_no_router_is_told(connect: Connect, reply: Reply, sentence: str) -> None:
    with Scripted(reply) as server:
        client = connect(server.url)
        with pytest.raises(TenantryError, match=sentence):
            client.predict("acme", ROWS)


def test_the_key_the_tenant_and_the_user_are_sent(connect: Connect) -> None:
    with Scripted(Reply()) as server:
        connect(server.url, tenant="acme", api_key="s3cret").predict("a:b@c", ROWS, "probabilities")
        [asked] = server.asked
    assert asked.path == "/predict/a%3Ab%40c?output=probabilities"
    assert asked.headers["tenantry-tenant"] == "acme"
    assert asked.headers["authorization"] == "Bearer s3cret"


def test_connections_are_reused(connect: Connect) -> None:
    with Scripted(Reply()) as server:
        client = connect(server.url)
        for _ in range(5):
            client.predict("acme", ROWS)
        assert len({asked.connection for asked in server.asked}) == 1


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://", ""])
def test_what_is_no_url_is_told_at_once(connect: Connect, url: str) -> None:
    with pytest.raises(ValueError, match="is no URL"):
        connect(url)


def test_data_that_are_no_table_are_told_before_anything_is_sent(connect: Connect) -> None:
    given: list[tuple[Any, type[Exception], str]] = [
        ({"a": 1}, TypeError, "give a DataFrame, a list of records"),
        ("text", TypeError, "give a DataFrame"),
        ([{"a": object()}], TypeError, "object cannot be sent"),
    ]
    with Scripted(Reply()) as server:
        client = connect(server.url)
        for data, kind, sentence in given:
            with pytest.raises(kind, match=sentence):
                client.predict("acme", data)
        assert server.asked == []
