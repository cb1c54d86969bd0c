"""Slow clients, clients that leave, clients that do not read, and a server that stops."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from tenantry_core.http.limits import Limits
from unit.core_http.harness import Client, Server, chunked, eventually, get, post, serving

SHORT = 0.5
"""Seconds, in which a busy machine still gets round to what a test sends at once."""
LIMITS = Limits(header_timeout=SHORT, body_timeout=SHORT, idle_timeout=SHORT, write_timeout=SHORT)


def abandon(client: Client) -> None:
    """Close with a TCP reset, as the system does for a process that is killed with unread data."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


@pytest.mark.parametrize("start", [b"GET /health HTT", b"POST /echo HTTP/1.1\r\nHost: test\r\nX-A"])
def test_a_slow_header_is_408(start: bytes) -> None:
    with serving(LIMITS) as server, server.connect() as client:
        answer = client.ask(start)
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert client.closed()


def test_bytes_that_trickle_in_do_not_move_the_deadline() -> None:
    with serving(LIMITS) as server, server.connect() as client:
        client.socket.settimeout(SHORT / 5)
        client.send(b"GET /health HTTP/1.1\r\nHost: test\r\n")
        started = time.monotonic()
        while time.monotonic() - started < SHORT * 20:
            client.send(b"X-A: y\r\n")
            try:
                assert client.answer().status == 408
                break
            except TimeoutError:
                continue
        else:
            raise AssertionError("a trickle of header fields was never refused")


@pytest.mark.parametrize("request_bytes", [post("/echo", b"abc")[:-1], chunked("/length", b"abc")[:-4]])
def test_a_slow_body_is_408(request_bytes: bytes) -> None:
    with serving(LIMITS) as server, server.connect() as client:
        assert client.ask(request_bytes).status == 408
        assert client.closed()
        eventually(lambda: server.budget.used == 0, "the body given back")


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"G", post("/echo", b"x")])
def test_an_idle_connection_is_closed_without_a_word(sent: bytes) -> None:
    with serving(LIMITS) as server, server.connect() as client:
        if len(sent) > 10:
            assert client.ask(sent).status == 200
        else:
            client.send(sent)
        assert client.closed()


def test_a_request_that_takes_long_to_answer_is_not_idle() -> None:
    with serving(LIMITS) as server, server.connect() as client, server.connect() as idle:
        client.send(post("/hold"))
        held = server.routes.take()[0]
        assert idle.closed()  # the idle timeout has passed for both
        held.answer(b"late")
        assert client.answer().body == b"late"


def test_a_request_that_is_not_read_because_others_are_worked_on_is_not_slow() -> None:
    with serving(LIMITS) as server, server.connect() as client, server.connect() as idle:
        last = post("/echo", b"last")
        client.send(*(post("/hold") for _ in range(16)), last[:-1])
        held = server.routes.take(16)
        assert idle.closed()  # all timeouts have passed
        client.send(last[-1:])
        for one in held:
            one.answer(b"held")
        for _ in held:
            assert client.answer().body == b"held"
        assert client.answer().body == b"echo::last"


def test_a_half_closed_client_gets_all_its_answers() -> None:
    with serving() as server, server.connect() as client:
        client.send(post("/hold"), get("/health"), post("/echo", b"x"), b"GET /cut-sho")
        client.finish_sending()
        server.routes.take()[0].answer(b"first")
        assert client.answer().body == b"first"
        assert client.answer().body == b'{"ok":true}'
        assert client.answer().body == b"echo::x"
        assert client.closed()


def test_a_half_closed_client_may_wait_longer_than_it_takes_to_be_asked_for() -> None:
    with serving() as server, server.connect() as client:
        client.send(post("/hold"))
        client.finish_sending()
        assert client.answer().status == 100  # asked whether it is still there
        server.routes.take()[0].answer(b"late")
        assert client.answer().body == b"late"
        assert client.closed()


def test_the_work_of_a_client_that_resets_is_dropped() -> None:
    with serving() as server:
        client = server.connect()
        client.send(post("/hold", b"1"), post("/hold", b"2"))
        held = server.routes.take(2)
        abandon(client)
        eventually(lambda: all(one.disconnected for one in held), "the handlers were told")
        held[0].answer(b"to nobody")
        with server.connect() as other:
            assert other.ask(post("/echo", b"x")).status == 200


def test_the_work_of_a_client_that_merely_closes_is_dropped_too() -> None:
    with serving() as server:
        client = server.connect()
        client.send(post("/hold"))
        held = server.routes.take()[0]
        client.socket.close()
        eventually(lambda: held.disconnected, "the handler was told")
        eventually(lambda: server.connections() == 0, "the connection is gone")


def test_a_client_that_does_not_read_is_read_no_further_and_then_dropped() -> None:
    with serving(LIMITS) as server:
        client = server.connect()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert client.ask(post("/echo", b"x")).status == 200
        client.send(post("/big?5000000") * 3)
        eventually(lambda: server.connections() == 0, "dropped")


def test_an_answer_larger_than_all_buffers_arrives_whole() -> None:
    with serving() as server, server.connect() as client:
        client.send(post("/big?20000000"), post("/echo", b"after"))
        assert len(client.answer().body) == 20_000_000
        assert client.answer().body == b"echo::after"


def stop(server: Server) -> None:
    server.uvicorn.should_exit = True


def test_a_stopping_server_closes_idle_connections_and_finishes_the_rest() -> None:
    with serving() as server, server.connect() as idle, server.connect() as busy:
        assert idle.ask(post("/echo", b"x")).status == 200
        busy.send(post("/hold", b"1"), post("/hold", b"2"))
        held = server.routes.take(2)
        stop(server)
        assert idle.closed()
        held[1].answer(b"second")
        held[0].answer(b"first")
        answers = [busy.answer(), busy.answer()]
        assert [answer.body for answer in answers] == [b"first", b"second"]
        assert "connection" not in answers[0].headers
        assert answers[1].headers["connection"] == "close"
        assert busy.closed()
        eventually(lambda: server.connections() == 0, "no connection left")


def test_a_stopping_server_finishes_reading_a_request_that_has_begun() -> None:
    with serving() as server, server.connect() as idle, server.connect() as client:
        request = post("/echo", b"abc")
        client.send(request[:-1])
        eventually(lambda: server.budget.used == 2, "most of the body has arrived")
        stop(server)
        assert idle.closed()
        answer = client.ask(request[-1:])
        assert (answer.body, answer.headers["connection"]) == (b"echo::abc", "close")
        assert client.closed()
