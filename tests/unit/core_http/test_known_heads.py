"""What is remembered of heads changes nothing but the time: any bytes give the same requests, however cut."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenantry_core.http.exchange import Exchange
from tenantry_core.http.heads import MOST_FIELDS, Head, Memo
from tenantry_core.http.limits import Budget, Limits
from tenantry_core.http.reader import RequestReader
from tenantry_core.problems import Problem
from unit.core_http.harness import chunked, get, post

LIMITS = Limits(header_bytes=300, body_bytes=300)


@dataclass
class Side:
    """Readers that share what they remember, and what the last of them has read."""

    heads: Memo[Head]
    read: list[Any] = field(default_factory=list)
    known: int = 0

    def feed(self, loop: asyncio.AbstractEventLoop, pieces: list[bytes]) -> list[Any]:
        side = self
        side.read = []

        class Reader(RequestReader):
            limits = LIMITS
            budget = Budget(320)
            heads = side.heads

            def deliver(self, exchange: Exchange) -> None:
                side.known += exchange.head is not None
                side.read.append(
                    (exchange.method, exchange.path, exchange.query, tuple(exchange.headers), exchange.body)
                )
                side.read.append((exchange.persistence, self.budget.used))

            def refuse(self, problem: Problem) -> None:
                self.stop_reading()
                side.read.append((problem.status, problem.error))

            def send_gathered(self) -> None:
                pass

            def ask_for_body(self) -> None:
                self._wants_continue = False
                side.read.append("continue")

        reader = Reader(loop)
        for piece in pieces:
            reader.data_received(piece)
            waits = reader.read_deadline != float("inf")
            side.read.append((reader.reading, reader.in_body, reader.read_ended, waits))
        return side.read


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, *(cut % (len(stream) + 1) for cut in cuts), len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * 6 * len(others) + [*others])


paths = mostly(
    *(
        "/predict/acme:1",
        "/echo?q=%20a",
        "/a?b?c",
        "/a#b",
        "//host/a",
        "*",
        "http://test/a",
        "/\xe4",
        "/?",
        "/<>",
    ),
)
fields = st.sampled_from(
    [
        *("X-A: b", "x-empty:", "X-Spaces:   c  ", "X-Tab:\tc", "content-type: application/json"),
        *("Content-Length: 3", "content-length: 3", "Content-Length: 03", "content-length: +3"),
        *("Content-Length: 3, 3", "Content-Length: 301", "content-length : 3", "Content-Length: 4294967299"),
        *(
            "Host: other",
            "Connection: close",
            "Connection: keep-alive",
            "Connection: upgrade",
            "Upgrade: h2c",
        ),
        *("Transfer-Encoding: chunked", "transfer-encoding: identity", "Expect: 100-continue"),
        *("X-A : b", "X-Fold: a\r\n b", "X-Bare: a\nb: c", "X-Return: a\rb", "X-Null: a\0b", ": b", "X"),
        *("X-Long: " + "x" * 200, "X-High: \xff"),
    ]
)
bodies = mostly(b"abc", b"", b"\r\n\r\n", b"0\r\n\r\n", b"x" * 250, b"x" * 301, post("/inner", b"abc"))
LENGTHS = ("", "content-length: {}\r\n", "Content-Length: {}\r\n")


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Requests, or what looks like some, with much the same fields: lengths first, last, twice, or none."""
    more = draw(st.one_of(st.just(["X-A: b"]), st.lists(fields, max_size=2)))
    host = draw(mostly("Host: test\r\n", ""))
    block = host + "".join(line + "\r\n" for line in more)
    lasts = draw(st.permutations(LENGTHS))[:2]
    return [draw(like(block, lasts)) for _ in range(draw(st.integers(1, 5)))]


@st.composite
def like(draw: st.DrawFn, block: str, lasts: list[str]) -> bytes:
    """A request with these fields."""
    body: bytes = draw(bodies)
    method = draw(mostly("POST", "GET", "PUT", "post", "\r\nPOST", " POST"))
    version = draw(mostly("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 "))
    end = draw(mostly("\r\n", "\n", "\r"))
    last = draw(st.sampled_from(lasts))
    first = draw(mostly("" if last else LENGTHS[1], *LENGTHS))
    line = f"{method} {draw(paths)} {version}{end}"
    return f"{line}{first}{block}{last}\r\n".replace("{}", str(len(body))).encode("latin-1") + body


WITHOUT_LENGTH = b"POST /a HTTP/1.1\r\nHost: test\r\n\r\n"
others = st.sampled_from([get("/health"), chunked("/echo", b"ab", b"c"), b"\r\n", b"PO", b"nonsense\r\n\r\n"])
streams = st.tuples(conversations(), st.lists(others, max_size=1)).flatmap(
    lambda parts: st.permutations(parts[0] + parts[1])
)


@example([post("/a", b"abc")] * 4, [])
@example([b"\r\n", post("/a", b"abc")], [2])
@example([post("/a", b"abc") + b"PO", b"ST" + post("/a", b"abc")[4:]], [])
@example([post("/a", b"abc") + b"PO", post("/a", b"abc")], [])
@example([post("/a", b"abc", "Connection: close"), post("/a", b"abc")], [])
@example([post("/a", b"abc", "Expect: 100-continue")], [60])
@example([post("/a", b"abc"), post("/a", b"abc").replace(b"Host", b"content-length: 3\r\nHost")], [])
@example([WITHOUT_LENGTH, WITHOUT_LENGTH.replace(b"Host", b"content-length: 3\r\nHost") + b"abc"], [])
@example([post("/a", b"abc", "X-Bare: a\nX: b")], [])
@example([post("/a", b"x" * 300), post("/a", b"x" * 301)], [])
@example([post("/a", b"abc"), post("/" + "a" * 400, b"abc")], [])
@example([post("/a", b"abc"), post("/a", b"abc")[:-1]], [])
@settings(max_examples=200, deadline=None)
@given(streams, st.lists(st.integers(0, 3_000), max_size=6))
def test_requests_are_the_same_whether_their_heads_are_known_or_not(
    requests: list[bytes], cuts: list[int]
) -> None:
    loop = uvloop.new_event_loop()
    try:
        knowing, ignorant = Side(Memo(64)), Side(Memo(0))
        for request in [*requests, *requests, *requests]:
            assert knowing.feed(loop, [request]) == ignorant.feed(loop, [request])
        stream = b"".join(requests)
        for pieces in (cut(stream, cuts), [stream], requests):
            assert knowing.feed(loop, pieces) == ignorant.feed(loop, pieces)
        assert ignorant.known == 0
    finally:
        loop.close()


def test_heads_of_many_fields_are_not_remembered() -> None:
    loop = uvloop.new_event_loop()
    side = Side(Memo(64))
    for _ in range(4):
        side.feed(loop, [post("/predict/acme", b"", *[f"{number}: 1" for number in range(MOST_FIELDS)])])
    assert side.known == 0
    loop.close()


def test_a_head_is_known_from_its_third_time_on() -> None:
    loop = uvloop.new_event_loop()
    side = Side(Memo(64))
    for _ in range(5):
        side.feed(loop, [post("/predict/acme:1?a=b", b"abc", "X-A: b")])
    assert side.known == 3
    side.feed(loop, [post("/predict/acme:2", b"abc", "X-A: b") * 2])
    assert side.known == 5
    side.feed(loop, [post("/predict/acme:2", b"abc", "X-A: c")])
    assert side.known == 5
    loop.close()


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(0, 8))
def test_what_is_remembered_is_bounded_and_right(keys: list[int], size: int) -> None:
    memo: Memo[int] = Memo(size)
    for number in keys:
        key = b"%d" % number
        known = memo.get(key)
        if known is None:
            if memo.is_wanted(key):
                memo.put(key, number)
        else:
            assert known == number
    assert sum(memo.get(b"%d" % number) is not None for number in range(31)) <= 2 * size
    assert not memo.is_wanted(b"x" * 5000)
