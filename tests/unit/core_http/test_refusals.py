"""What a broken or hostile client sees: a status, a sentence, and the end of the connection."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tenantry_core.http.limits import Budget, Limits
from unit.core_http.harness import Answer, Server, chunked, eventually, get, post, serving

LIMITS = Limits(header_bytes=4096, body_bytes=100_000)
HOST = b"POST /echo HTTP/1.1\r\nHost: test\r\n"
CHUNKED = HOST + b"Transfer-Encoding: chunked\r\n\r\n"

MALFORMED = {
    "length and chunked": HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "the same length twice": HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "two lengths": HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    "a list of lengths": HOST + b"Content-Length: 1, 1\r\n\r\nx",
    "a signed length": HOST + b"Content-Length: +1\r\n\r\nx",
    "a negative length": HOST + b"Content-Length: -1\r\n\r\nx",
    "an empty length": HOST + b"Content-Length:\r\n\r\n",
    "a length beyond 64 bits": HOST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "a folded field": HOST + b"X-A: 1\r\n 2\r\n\r\n",
    "a folded first field": b"POST /echo HTTP/1.1\r\n Host: test\r\n\r\n",
    "a bare LF after a field": HOST + b"X-A: 1\nX-B: 2\r\n\r\n",
    "a bare LF after the request line": b"POST /echo HTTP/1.1\nHost: test\r\n\r\n",
    "a bare CR in a field": HOST + b"X-A: 1\rX-B: 2\r\n\r\n",
    "a NUL in a field": HOST + b"X-A: \x00\r\n\r\n",
    "a space before the colon": HOST + b"Content-Length : 1\r\n\r\nx",
    "a field without a name": HOST + b": 1\r\n\r\n",
    "a field without a colon": HOST + b"nonsense\r\n\r\n",
    "another transfer coding": HOST + b"Transfer-Encoding: gzip\r\n\r\n",
    "a second transfer coding": HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "almost chunked": HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a vertical tab before chunked": HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size with a prefix": CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"-1\r\nx\r\n0\r\n\r\n",
    "a chunk size that is no number": CHUNKED + b"g\r\nx\r\n0\r\n\r\n",
    "a chunk size with a space": CHUNKED + b"1 \r\nx\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": CHUNKED + b"fffffffffffffffff\r\n",
    "a bare LF after a chunk size": CHUNKED + b"1\nx\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"1\r\nxy\r\n0\r\n\r\n",
    "a length among the trailers": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "no Host": b"POST /echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "two Hosts": HOST + b"Host: other\r\n\r\n",
    "two Hosts in HTTP/1.0": b"POST /echo HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "HTTP/0.9": b"GET /echo\r\n\r\n",
    "HTTP/2.0": b"GET /echo HTTP/2.0\r\nHost: test\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown method": b"PREDICT /echo HTTP/1.1\r\nHost: test\r\n\r\n",
    "CONNECT": b"CONNECT test:80 HTTP/1.1\r\nHost: test\r\n\r\n",
    "CONNECT to a path": b"CONNECT /echo HTTP/1.1\r\nHost: test\r\n\r\n",
    "CONNECT to a URL": b"CONNECT http://test/echo HTTP/1.1\r\nHost: test\r\n\r\n",
    "a target that is no path": b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n",
    "a raw byte in the target": b"GET /\xff HTTP/1.1\r\nHost: test\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: test\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(LIMITS, Budget(150_000)) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_is_kept(server: Server) -> Iterator[None]:
    yield
    eventually(lambda: server.budget.used == 0, "all body bytes given back")
    eventually(lambda: server.connections() == 0, "all connections closed")


def is_problem(answer: Answer, status: int) -> bool:
    document = json.loads(answer.body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["error"].endswith(".")
    return answer.status == status == document["status"] and answer.headers["connection"] == "close"


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_is_400_and_the_connection_ends(server: Server, request_bytes: bytes) -> None:
    server.routes.seen.clear()
    with server.connect() as client:
        assert is_problem(client.ask(request_bytes, post("/echo", b"smuggled")), 400)
        assert client.closed()
    assert not server.routes.seen


def test_answers_before_a_malformed_request_are_still_given(server: Server) -> None:
    server.routes.held.clear()
    with server.connect() as client:
        client.send(post("/hold"), post("/length", b"abc"), b"nonsense\r\n\r\n")
        server.routes.take()[0].answer(b"first")
        assert client.answer().body == b"first"
        assert client.answer().body == b'{"length":3}'
        assert is_problem(client.answer(), 400)
        assert client.closed()


@pytest.mark.parametrize("pieces", [1, 50])
@pytest.mark.parametrize("head", [b"GET /health?" + b"a" * 6000, HOST + b"X-A: " + b"a" * 6000])
def test_a_big_header_is_431(server: Server, head: bytes, pieces: int) -> None:
    step = len(head) // pieces + 1
    with server.connect() as client:
        for start in range(0, len(head), step):
            client.send(head[start : start + step])
        if pieces == 1:
            client.send(b" HTTP/1.1\r\nHost: test\r\n\r\n" if head.startswith(b"GET") else b"\r\n\r\n")
        assert is_problem(client.answer(), 431)


def test_many_small_fields_are_431_too(server: Server) -> None:
    with server.connect() as client:
        assert is_problem(client.ask(HOST, *(b"X-%d: y\r\n" % i for i in range(600)), b"\r\n"), 431)


@pytest.mark.parametrize("tail", [b"0\r\nX-Trailer: ", b"1;extension="])
def test_endless_trailers_and_chunk_extensions_are_refused(server: Server, tail: bytes) -> None:
    with server.connect() as client:
        client.send(CHUNKED, b"1\r\nx\r\n")
        eventually(lambda: server.budget.used == 1, "the first chunk has arrived")
        client.send(tail)
        for _ in range(10):
            client.send(b"a" * 1000)
        assert is_problem(client.answer(), 431)


def test_a_header_within_the_limit_passes_beside_a_long_body(server: Server) -> None:
    with server.connect() as client:
        assert client.ask(post("/echo", b"x" * 90_000, "X-A: " + "a" * 3900)).status == 200


@pytest.mark.parametrize("path", ["/echo", "/length"])
def test_a_big_body_is_413_before_it_is_read(server: Server, path: str) -> None:
    with server.connect() as client:
        head = (
            post(path)
            .replace(b"Length: 0", b"Length: 100001")
            .replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        )
        assert is_problem(client.ask(head), 413)
        assert client.closed()


def test_a_big_chunked_body_is_413(server: Server) -> None:
    with server.connect() as client:
        assert is_problem(client.ask(chunked("/echo", *([b"x" * 10_000] * 11))), 413)


def test_a_client_that_is_still_sending_can_read_why_it_was_refused(server: Server) -> None:
    with server.connect() as client:
        client.send(post("/echo").replace(b"Length: 0", b"Length: 90000000"))
        for _ in range(200):
            client.send(b"x" * 10_000)
        assert is_problem(client.answer(), 413)


def test_the_largest_body_passes(server: Server) -> None:
    with server.connect() as client:
        assert client.ask(post("/echo", b"x" * 100_000)).status == 200
        assert client.ask(chunked("/echo", *([b"x" * 10_000] * 10))).status == 200


def test_bodies_of_all_connections_share_a_budget(server: Server) -> None:
    server.routes.held.clear()
    with server.connect() as first, server.connect() as second, server.connect() as third:
        first.send(post("/hold", b"x" * 90_000))
        server.routes.take()
        answer = second.ask(post("/echo", b"x" * 90_000))
        assert is_problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
        assert third.ask(post("/echo", b"x" * 1000)).status == 200
        server.routes.held[0].answer(b"done")
        assert first.answer().body == b"done"
        assert third.ask(post("/echo", b"x" * 90_000)).status == 200


def test_a_body_is_given_back_when_its_client_goes_away_before_its_end(server: Server) -> None:
    with server.connect() as client:
        client.send(post("/echo", b"x" * 90_000)[:-1])
        eventually(lambda: server.budget.used > 0, "part of the body has arrived")


def test_a_refusal_ends_only_its_own_connection(server: Server) -> None:
    with server.connect() as good, server.connect() as bad:
        assert good.ask(get("/health")).status == 200
        assert is_problem(bad.ask(b"nonsense\r\n\r\n"), 400)
        assert good.ask(post("/echo", b"x")).status == 200
