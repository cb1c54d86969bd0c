"""The pool against upstreams that behave, misbehave, and vanish."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_core.http.client import SHARED_DEPTH, Call, Failure, Pool, UpstreamError, UpstreamResponse
from unit.core_http.harness import PATIENCE, Server, post, serving

Result = UpstreamResponse | UpstreamError
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await test()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


async def ask(pool: Pool, request: bytes) -> Result:
    done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    pool.send(request, done.set_result)
    return await done


def share(pool: Pool, body: bytes, received: list[Any]) -> Call:
    """What comes of it is added to `received`."""
    return pool.send(post("/", body), received.append, share=True)


@asynccontextmanager
async def sharing(*scripts: Any, **options: Any) -> Any:
    """As `upstream`, whose first connection has been used once and takes what may be shared."""
    async with upstream(*scripts, **options) as (peer, pool):
        assert isinstance(await ask(pool, post("/")), UpstreamResponse)
        yield peer, pool


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in other threads too
        await asyncio.sleep(0.001)


async def failure(pool: Pool) -> Failure:
    result = await ask(pool, post("/"))
    assert isinstance(result, UpstreamError)
    assert pool.in_flight == 0
    return result.failure


class Upstream:
    """Does with its nth connection (the last script from then on) what a script says."""

    def __init__(self, *scripts: Callable[[Upstream, Any, Any], Awaitable[None]]) -> None:
        self._scripts = scripts
        self.connections = 0
        self.requests: list[bytes] = []
        self.resets = 0
        self.gone = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        try:
            await script(self, reader, writer)
        except ConnectionResetError:
            self.resets += 1
        finally:
            self.gone.set()
            writer.close()

    async def request(self, reader: asyncio.StreamReader) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))


@asynccontextmanager
async def upstream(*scripts: Any, **options: Any) -> Any:
    handler = Upstream(*scripts)
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1], **options)
    yield handler, pool
    pool.close()
    server.close()


def sends(*answers: bytes) -> Any:
    """Answers that many requests, then closes."""

    async def script(self: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await self.request(reader)
            writer.write(answer)

    return script


async def waits(self: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await self.request(reader)
    await reader.read()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def test_requests_reuse_connections_and_stay_within_the_bound(server: Server) -> None:
    async def test() -> None:
        pool = Pool("127.0.0.1", server.port, max_connections=4)
        results = await asyncio.gather(*(ask(pool, post("/echo", b"%d" % i)) for i in range(100)))
        assert [result.body for result in results] == [b"echo::%d" % i for i in range(100)]  # type: ignore[union-attr]
        assert server.connections() <= 4
        result = await ask(pool, post("/length", b"x" * 300_000))
        assert isinstance(result, UpstreamResponse)
        assert (result.status, result.body) == (200, b'{"length":300000}')
        assert (b"content-type", b"application/json") in result.headers
        assert pool.in_flight == 0
        pool.close()

    run(test)


def test_a_refused_connection_is_told_from_one_that_takes_too_long() -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        assert await failure(Pool("127.0.0.1", port)) is Failure.CONNECT
        assert await failure(Pool("no..name", port)) is Failure.CONNECT
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            address = full.getsockname()
            fillers = [socket.socket() for _ in range(3)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            assert await failure(Pool(*address, connect_timeout=0.05)) is Failure.CONNECT
            for filler in fillers:
                filler.close()

    run(test)


def test_all_calls_that_wait_for_an_unreachable_upstream_are_told() -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        pool = Pool("127.0.0.1", port, max_connections=2)
        results = await asyncio.gather(*(ask(pool, post("/")) for _ in range(20)))
        assert all(isinstance(one, UpstreamError) and one.failure is Failure.CONNECT for one in results)

    run(test)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", Failure.UNANSWERED),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Failure.BROKEN),
        (OK[:-1], Failure.BROKEN),
        (b"SSH-2.0-OpenSSH\r\n", Failure.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Failure.MALFORMED),
        (OK + OK, Failure.MALFORMED),
    ],
)
def test_each_way_to_fail_on_a_fresh_connection(answer: bytes, expected: Failure) -> None:
    async def test() -> None:
        async with upstream(sends(answer)) as (peer, pool):
            assert await failure(pool) is expected
            assert peer.connections == 1

    run(test)


def test_a_reused_connection_that_ends_unanswered_is_replaced_unnoticed() -> None:
    async def test() -> None:
        async def one_then_gone(self: Upstream, reader: Any, writer: Any) -> None:
            await self.request(reader)
            writer.write(OK)
            await self.request(reader)  # read, but not answered

        async with upstream(one_then_gone, sends(OK, OK)) as (peer, pool):
            for _ in range(3):
                result = await ask(pool, post("/"))
                assert isinstance(result, UpstreamResponse)
            assert (peer.connections, len(peer.requests)) == (2, 4)

    run(test)


def test_it_is_replaced_only_once() -> None:
    async def test() -> None:
        async with upstream(sends(OK, b""), sends(b"")) as (peer, pool):
            assert isinstance(await ask(pool, post("/")), UpstreamResponse)
            assert await failure(pool) is Failure.UNANSWERED
            assert peer.connections == 2

    run(test)


def test_a_connection_that_the_upstream_closes_is_not_used_again() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    async def test() -> None:
        async with upstream(sends(closing), sends(OK)) as (peer, pool):
            for _ in range(2):
                assert isinstance(await ask(pool, post("/")), UpstreamResponse)
            assert peer.connections == 2

    run(test)


def test_interim_answers_are_passed_over() -> None:
    async def test() -> None:
        async with upstream(sends(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)) as (_, pool):
            result = await ask(pool, post("/"))
            assert isinstance(result, UpstreamResponse)
            assert (result.status, result.body) == (200, b"ok")

    run(test)


def test_a_cancelled_call_resets_its_connection_and_is_not_called_back() -> None:
    async def test() -> None:
        async with upstream(waits, sends(OK)) as (peer, pool):
            call = pool.send(post("/"), lambda _: pytest.fail("called back"))
            await until(lambda: peer.requests)
            call.cancel()
            call.cancel()
            assert pool.in_flight == 0
            await peer.gone.wait()
            assert peer.resets == 1
            assert isinstance(await ask(pool, post("/")), UpstreamResponse)

    run(test)


def test_the_hot_protocol_sees_a_cancelled_call_at_once(server: Server) -> None:
    async def test() -> None:
        pool = Pool("127.0.0.1", server.port)
        call = pool.send(post("/hold"), lambda _: pytest.fail("called back"))
        await until(lambda: server.routes.held)
        call.cancel()
        await until(lambda: server.routes.held[0].disconnected)

    run(test)


def test_a_cancelled_call_that_still_waits_is_never_sent() -> None:
    async def test() -> None:
        async with upstream(sends(OK, OK), max_connections=1) as (peer, pool):
            first = asyncio.create_task(ask(pool, post("/1")))
            await asyncio.sleep(0)
            dropped = pool.send(post("/2"), lambda _: pytest.fail("called back"))
            dropped.cancel()
            assert not dropped.request, "its body takes memory for as long as the queue moves"
            await first
            assert isinstance(await ask(pool, post("/3")), UpstreamResponse)
            assert [line.split()[1] for line in peer.requests] == [b"/1", b"/3"]

    run(test)


def test_idle_connections_are_closed_after_a_time() -> None:
    async def test() -> None:
        async with upstream(sends(OK, OK), idle_timeout=0.05) as (peer, pool):
            assert isinstance(await ask(pool, post("/")), UpstreamResponse)
            await peer.gone.wait()

    run(test)


def test_bytes_that_nobody_asked_for_never_answer_the_next_call() -> None:
    async def test() -> None:
        answered = asyncio.Event()

        async def talks_first(self: Upstream, reader: Any, writer: Any) -> None:
            await self.request(reader)
            writer.write(OK)
            await answered.wait()
            writer.write(OK.replace(b"ok", b"no"))
            await reader.read()

        async with upstream(talks_first, sends(OK)) as (peer, pool):
            assert isinstance(await ask(pool, post("/")), UpstreamResponse)
            answered.set()
            await peer.gone.wait()
            result = await ask(pool, post("/"))
            assert isinstance(result, UpstreamResponse)
            assert result.body == b"ok"

    run(test)


def test_a_callback_that_raises_is_not_taken_for_the_upstreams_fault() -> None:
    async def test() -> None:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with upstream(sends(OK, OK)) as (_, pool):

            def fails(_: Result) -> None:
                raise RuntimeError("the caller's own")

            pool.send(post("/"), fails)
            await until(lambda: errors)
            assert pool.in_flight == 0
            assert isinstance(await ask(pool, post("/")), UpstreamResponse)

    run(test)


def numbered(number: int) -> bytes:
    body = b"number %d" % number
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def answers_in_pieces(cuts: list[int], count: int) -> Any:
    """Once it has one request more than `count`, the answers to all but the first, cut wherever."""

    async def script(self: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.request(reader)
        writer.write(OK)
        for _ in range(count):
            await self.request(reader)
        data = b"".join(map(numbered, range(count)))
        places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
        for start, end in pairwise(places):
            writer.write(data[start:end])
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    return script


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.lists(st.integers(1, 600), max_size=6))
def test_each_shared_request_gets_its_own_answer_however_they_arrive(count: int, cuts: list[int]) -> None:
    async def test() -> None:
        async with sharing(answers_in_pieces(cuts, count)) as (peer, pool):
            received: list[Any] = []
            for number in range(count):
                share(pool, b"%d" % number, received)
            await until(lambda: len(received) == count)
            assert [result.body for result in received] == [b"number %d" % n for n in range(count)]
            assert (peer.connections, pool.in_flight) == (1, 0)

    run(test)


def test_no_more_than_so_many_share_a_connection() -> None:
    async def test() -> None:
        async with sharing(answers_in_pieces([], SHARED_DEPTH), sends(OK)) as (peer, pool):
            received: list[Any] = []
            for number in range(SHARED_DEPTH + 1):
                share(pool, b"%d" % number, received)
            await until(lambda: len(received) == SHARED_DEPTH + 1)
            assert peer.connections == 2

    run(test)


def test_what_others_would_wait_for_has_a_connection_of_its_own() -> None:
    async def test() -> None:
        async with sharing(sends(OK, OK), sends(OK)) as (peer, pool):
            received: list[Any] = []
            share(pool, b"", received)
            assert isinstance(await ask(pool, post("/")), UpstreamResponse)
            await until(lambda: received)
            assert peer.connections == 2

    run(test)


def test_a_shared_connection_that_ends_is_replaced_unnoticed_by_those_without_an_answer() -> None:
    async def test() -> None:
        async with sharing(sends(OK, numbered(0)), sends(numbered(1)), sends(numbered(2))) as (peer, pool):
            received: list[Any] = []
            for number in range(3):
                share(pool, b"%d" % number, received)
            await until(lambda: len(received) == 3)
            assert sorted(result.body for result in received) == [b"number 0", b"number 1", b"number 2"]
            assert peer.connections == 3

    run(test)


def test_a_cancelled_call_leaves_those_that_share_its_connection_alone() -> None:
    async def test() -> None:
        async with sharing(answers_in_pieces([], 2)) as (peer, pool):
            received: list[Any] = []
            cancelled = pool.send(post("/"), lambda _: pytest.fail("called back"), share=True)
            share(pool, b"", received)
            cancelled.cancel()
            await until(lambda: received)
            assert received[0].body == b"number 1"
            assert (peer.connections, peer.resets, pool.in_flight) == (1, 0, 0)

    run(test)


def test_a_shared_connection_is_reset_once_nobody_waits_for_it() -> None:
    async def test() -> None:
        async def answers_once(self: Upstream, reader: Any, writer: Any) -> None:
            await self.request(reader)
            writer.write(OK)
            await waits(self, reader, writer)

        async with sharing(answers_once, sends(OK)) as (peer, pool):
            calls = [pool.send(post("/"), lambda _: pytest.fail("called back"), share=True) for _ in range(3)]
            for call in calls:
                call.cancel()
            await peer.gone.wait()
            assert peer.resets == 1
            assert isinstance(await ask(pool, post("/")), UpstreamResponse)

    run(test)


def test_a_callback_that_raises_keeps_no_answer_from_others() -> None:
    async def test() -> None:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with sharing(answers_in_pieces([], 2)) as (_, pool):
            received: list[Any] = []

            def fails(_: Result) -> None:
                raise RuntimeError("the caller's own")

            pool.send(post("/"), fails, share=True)
            share(pool, b"", received)
            await until(lambda: received and errors)
            assert received[0].body == b"number 1"

    run(test)


def test_an_only_connection_is_not_kept_for_those_that_share() -> None:
    async def test() -> None:
        async with sharing(sends(OK, OK, OK), max_connections=1) as (peer, pool):
            received: list[Any] = []
            share(pool, b"", received)
            assert isinstance(await ask(pool, post("/")), UpstreamResponse)
            assert (len(received), peer.connections) == (1, 1)

    run(test)
