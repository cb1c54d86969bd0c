"""What arrives together is answered, and sent on, by one write: each write is a system call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from uvicorn.server import ServerState

from tenantry_core.http import protocol as answering
from tenantry_core.http.client import Pool
from tenantry_core.http.limits import Budget, Limits
from tenantry_core.http.messages import Response
from tenantry_core.http.protocol import hot_protocol
from tenantry_core.http.upstream_connection import UpstreamConnection
from unit.core_http.harness import Routes, post

_EMPTY = Response(200, (), b"")


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.writes.append(b"closed")

    def get_write_buffer_size(self) -> int:
        return 0


def bodies(written: bytes) -> list[bytes]:
    """Of answers to /echo."""
    return [part.partition(b"HTTP/")[0] for part in written.split(b"echo::")[1:]]


def run(test: Callable[[Routes, Any, Wire], None]) -> None:
    """With a connection of a server."""

    async def in_loop() -> None:
        routes, wire = Routes(), Wire()
        protocol: Any = hot_protocol(routes, Limits(), Budget())
        connection = protocol(None, ServerState(), {})
        connection.connection_made(wire)
        test(routes, connection, wire)
        connection.connection_lost(None)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(in_loop())


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is."""
    monkeypatch.setattr(answering, "_GATHERING_SECONDS", 60.0)


def test_no_answer_waits_long_for_those_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_GATHERING_SECONDS", 0.0)

    def test(_: Routes, connection: Any, wire: Wire) -> None:
        connection.data_received(b"".join(post("/echo", b"%d" % n) for n in range(9)))
        assert len(wire.writes) > 4

    run(test)


def test_answers_to_what_arrives_together_are_one_write() -> None:
    def test(_: Routes, connection: Any, wire: Wire) -> None:
        for turn in range(1, 5):  # by the parser first, then by what is known of the heads
            connection.data_received(b"".join(post("/echo", b"%d" % n) for n in range(9)))
            assert len(wire.writes) == turn
            assert bodies(wire.writes[-1]) == [b"%d" % n for n in range(9)]

    run(test)


def test_an_answer_that_takes_its_time_keeps_those_behind_it_and_none_before_it() -> None:
    def test(routes: Routes, connection: Any, wire: Wire) -> None:
        for _ in range(4):
            wire.writes.clear()
            connection.data_received(
                post("/echo", b"1") + post("/echo", b"2") + post("/hold") + post("/echo", b"3")
            )
            assert bodies(b"".join(wire.writes)) == [b"1", b"2"]
            routes.held.pop().reply.send(_EMPTY)
            assert bodies(b"".join(wire.writes)) == [b"1", b"2", b"3"]

    run(test)


def test_what_is_gathered_goes_out_before_the_connection_closes() -> None:
    def test(_: Routes, connection: Any, wire: Wire) -> None:
        connection.data_received(post("/echo", b"1") + post("/echo", b"2", "Connection: close"))
        assert bodies(b"".join(wire.writes[:-1])) == [b"1", b"2"]
        assert wire.writes[-1] == b"closed"

    run(test)


def test_large_answers_are_not_kept() -> None:
    def test(_: Routes, connection: Any, wire: Wire) -> None:
        connection.data_received(post("/big?50000") * 10)
        assert len(wire.writes) == 5

    run(test)


def test_requests_that_share_a_connection_are_one_write() -> None:
    async def test() -> None:
        pool, wire = Pool("127.0.0.1", 9), Wire()
        connection = UpstreamConnection(pool)
        connection.connection_made(wire)  # type: ignore[arg-type] # all of a transport that is used
        pool.release(connection)
        pool.send(b"first", print, share=True)
        for _ in range(3):
            pool.send(b"another", print, share=True)
        assert wire.writes == [b"first"]
        await asyncio.sleep(0)
        assert wire.writes == [b"first", b"another" * 3]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
