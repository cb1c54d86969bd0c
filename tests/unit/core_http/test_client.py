"""The pool against upstreams that behave, misbehave, and vanish."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from tenantry_core.http.client import Failure, Pool, UpstreamError, UpstreamResponse
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
        async def talks_first(self: Upstream, reader: Any, writer: Any) -> None:
            await self.request(reader)
            writer.write(OK)
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(OK.replace(b"ok", b"no"))
            await reader.read()

        async with upstream(talks_first, sends(OK)) as (peer, pool):
            assert isinstance(await ask(pool, post("/")), UpstreamResponse)
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
