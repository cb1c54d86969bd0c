"""What a well-behaved client sees."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from unit.core_http.harness import Client, Server, chunked, get, post, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.connect() as connection:
        yield connection


def test_a_hot_route_is_answered_and_the_connection_stays(client: Client) -> None:
    for body in (b"one", b"", b"three" * 50_000):
        answer = client.ask(post("/echo?q=1", body))
        assert (answer.status, answer.body) == (200, b"echo:q=1:" + body)
        assert answer.headers == {"content-type": "text/plain", "content-length": str(len(answer.body))}


def test_a_connection_alternates_between_fastapi_and_hot_routes(client: Client) -> None:
    for _ in range(3):
        assert client.ask(get("/health")).body == b'{"ok":true}'
        assert client.ask(post("/echo", b"x")).body == b"echo::x"
        assert client.ask(get("/docs")).status == 200
        assert client.ask(post("/length", b"x" * 200_000)).body == b'{"length":200000}'
        assert client.ask(get("/stream")).body == b"part 0;part 1;part 2;"


def test_pipelined_requests_of_both_kinds_are_answered_in_order(client: Client) -> None:
    client.send(*(post("/echo", b"%d" % i) + get("/health") + post("/length", b"x" * i) for i in range(40)))
    for i in range(40):
        assert client.answer().body == b"echo::%d" % i
        assert client.answer().body == b'{"ok":true}'
        assert client.answer().body == b'{"length":%d}' % i


def test_answers_keep_the_order_of_requests_when_handlers_do_not(server: Server, client: Client) -> None:
    server.routes.held.clear()
    client.send(*(post("/hold", b"%d" % i) for i in range(4)), post("/echo", b"last"))
    held = server.routes.take(4)
    for one in reversed(held):
        one.answer(b"answer to " + one.request.body)
    assert [client.answer().body for _ in range(5)] == [
        b"answer to 0",
        b"answer to 1",
        b"answer to 2",
        b"answer to 3",
        b"echo::last",
    ]


def test_a_bounded_number_of_requests_is_worked_on(server: Server, client: Client) -> None:
    server.routes.held.clear()
    client.send(*(post("/hold", b"%d" % i) for i in range(50)))
    for i in range(50):
        held = server.routes.take(min(i + 16, 50))
        assert len(held) == min(i + 16, 50)
        held[i].answer(b"%d" % i)
        assert client.answer().body == b"%d" % i


def test_a_chunked_body_is_whole(client: Client) -> None:
    assert client.ask(chunked("/echo", b"ab", b"c" * 1000, b"d")).body == b"echo::ab" + b"c" * 1000 + b"d"
    assert client.ask(chunked("/length", b"ab", b"c")).body == b'{"length":3}'
    assert client.ask(chunked("/echo", b"ab", end=b"0\r\nX-Trailer: 1\r\n\r\n")).body == b"echo::ab"


def test_bytes_that_come_one_at_a_time_make_the_same_request(client: Client) -> None:
    for byte in post("/echo", b"slow", "X-Name: value") + chunked("/echo", b"er"):
        client.send(bytes([byte]))
    assert [client.answer().body for _ in range(2)] == [b"echo::slow", b"echo::er"]


@pytest.mark.parametrize("path", ["/echo", "/length"])
def test_expect_100_continue(client: Client, path: str) -> None:
    client.send(post(path, b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 3"))
    assert client.answer().status == 100
    client.send(b"abc")
    answer = client.answer()
    assert answer.status == 200
    assert answer.body in (b"echo::abc", b'{"length":3}')


def test_the_interim_answer_waits_for_the_answers_before(server: Server, client: Client) -> None:
    server.routes.held.clear()
    expecting = post("/echo", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 3")
    client.send(post("/hold"), expecting)
    server.routes.take()[0].answer(b"first")
    assert client.answer().body == b"first"
    assert client.answer().status == 100
    assert client.ask(b"abc").body == b"echo::abc"


def test_a_body_that_did_not_wait_needs_no_interim_answer(client: Client) -> None:
    assert client.ask(post("/echo", b"abc", "Expect: 100-continue")).body == b"echo::abc"


@pytest.mark.parametrize("path", ["/echo", "/length"])
def test_connection_close_is_honoured(client: Client, path: str) -> None:
    answer = client.ask(post(path, b"x", "Connection: close"), post(path, b"never read"))
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert client.closed()


@pytest.mark.parametrize("path", ["/echo", "/length"])
def test_http_1_0_closes(client: Client, path: str) -> None:
    answer = client.ask(f"POST {path} HTTP/1.0\r\nContent-Length: 1\r\n\r\nx".encode())
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert client.closed()


def test_http_1_0_stays_when_asked(client: Client) -> None:
    for _ in range(2):
        answer = client.ask(post("/echo", b"x", "Connection: keep-alive", version="1.0"))
        assert (answer.body, answer.headers["connection"]) == (b"echo::x", "keep-alive")


def test_head_has_the_length_but_no_body(client: Client) -> None:
    client.send(post("/echo", b"abc").replace(b"POST", b"HEAD"))
    client.finish_sending()
    received = b""
    while data := client.socket.recv(65536):
        received += data
    assert received.endswith(b"content-length: 9\r\n\r\n")


def test_an_offer_of_http_2_is_declined_and_its_body_read(client: Client) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
    assert client.ask(post("/echo", b"abc", *offer), post("/echo", b"de")).body == b"echo::abc"
    assert client.answer().body == b"echo::de"
    assert client.ask(post("/length", b"abc", *offer)).body == b'{"length":3}'


def test_an_absolute_target_is_a_path(client: Client) -> None:
    assert client.ask(post("http://test:80/echo?a#b", b"x")).body == b"echo:a:x"
    assert client.ask(get("http://test/health")).status == 200


def test_other_methods_of_a_hot_path_are_fastapis_business(client: Client) -> None:
    answer = client.ask(get("/echo"))
    assert (answer.status, answer.headers["content-type"]) == (405, "application/problem+json")
    assert client.ask(get("/nothing")).status == 404


def test_a_problem_is_rendered(client: Client) -> None:
    answer = client.ask(post("/problem"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    document = json.loads(answer.body)
    assert (document["error"], document["reason"]) == ("The model is being loaded.", "FirstLoad")


@pytest.mark.parametrize("path", ["/fail", "/bad-answer"])
def test_what_a_handler_gets_wrong_is_logged_and_not_told(
    client: Client, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = client.ask(post(path))
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    assert "set-cookie" not in answer.headers
    assert "Traceback" in caplog.text
    assert client.ask(post("/echo", b"x")).body == b"echo::x"


def test_a_failure_in_fastapi_ends_neither_the_server_nor_the_connection(client: Client) -> None:
    assert client.ask(get("/broken")).status == 500
    assert client.ask(post("/echo", b"x")).body == b"echo::x"
