"""Answers are the same whether their heads are known or not: any bytes, however cut, hostile ones too."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenantry_core.http.client import Pool, UpstreamError, UpstreamResponse
from tenantry_core.http.heads import Head, Memo
from tenantry_core.http.upstream import Call
from tenantry_core.http.upstream_connection import UpstreamConnection
from unit.core_http.test_known_heads import cut


class Wire:
    """A transport that only counts what is done to it."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()

    def write(self, data: bytes) -> None:
        self.done["write"] += 1

    def close(self) -> None:
        self.done["close"] += 1

    def abort(self) -> None:
        self.done["abort"] += 1


def receive(heads: Memo[Head], pieces: list[bytes], calls: int) -> tuple[list[Any], Counter[str], int]:
    """What so many calls over one connection get from these pieces; then the connection ends."""
    answers: list[Any] = []
    known = 0

    def done(number: int, result: UpstreamResponse | UpstreamError) -> None:
        nonlocal known
        if isinstance(result, UpstreamError):
            answers.append((number, result.failure))
        else:
            known += result.head is not None
            answers.append((number, result.status, tuple(result.headers), result.body))

    async def run() -> Counter[str]:
        pool, wire = Pool("127.0.0.1", 9), Wire()
        connection = UpstreamConnection(pool, heads)
        connection.connection_made(wire)  # type: ignore[arg-type] # all of a transport that is used
        for number in range(calls):
            call = Call(pool, b"?", lambda result, number=number: done(number, result))  # type: ignore[misc]
            call.resent = True  # or it would be sent again
            connection.start(call)
        for piece in pieces:
            if not wire.done["abort"] and not wire.done["close"]:
                connection.data_received(piece)
        connection.connection_lost(None)
        pool.close()
        return wire.done

    return answers, asyncio.run(run()), known


def answer(*fields: str, body: bytes = b"[0.5]", status: str = "200 OK", length: bool = True) -> bytes:
    sized = (f"content-length: {len(body)}",) if length else ()
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, *sized, "", ""]).encode("latin-1") + body


WARM = answer("content-type: application/json", "tenantry-cache: hit", "server-timing: predict;dur=0.012")
fields = st.sampled_from(
    [
        *("content-type: application/json", "Tenantry-Cache: miss", "X-Tab:\ta  ", "Connection: keep-alive"),
        *("Connection: close", "Connection: upgrade\r\nUpgrade: h2c", "Transfer-Encoding: chunked"),
        *(
            "content-length: 5",
            "Content-Length: 6",
            "X-Fold: a\r\n b",
            "X-Bare: a\nb: c",
            "X-Null: a\0b",
            "X",
        ),
    ]
)
bodies = st.sampled_from([b"[0.5]", b"", b"\r\n\r\n", WARM, b"5\r\nhello\r\n0\r\n\r\n"])
statuses = st.sampled_from(
    ["200 OK"] * 5 + ["404 Not Found", "204 No Content", "304 Not Modified", "100 Continue"]
)
others = st.builds(
    lambda names, body, status, length: answer(*names, body=body, status=status, length=length),
    *(st.lists(fields, max_size=2), bodies, statuses, st.sampled_from([True] * 4 + [False])),
)
streams = st.lists(st.one_of(st.just(WARM), others, st.just(b"\r\n")), min_size=1, max_size=4)


@example([WARM, WARM, WARM], [], 3)
@example([WARM, WARM, WARM], [], 2)
@example([WARM, WARM[:-1]], [], 2)
@example([answer("Connection: close"), WARM], [], 2)
@example([answer("content-length: 5"), WARM], [], 2)
@example([answer("link: a", status="103 Early Hints", body=b"", length=False) + answer(body=b"")] * 3, [], 3)
@example([answer(status="204 No Content", body=b"")], [], 1)
@settings(max_examples=150, deadline=None)
@given(streams, st.lists(st.integers(0, 600), max_size=4), st.integers(1, 5))
def test_answers_are_the_same_whether_their_heads_are_known_or_not(
    stream: list[bytes], cuts: list[int], calls: int
) -> None:
    knowing, ignorant = Memo[Head](64), Memo[Head](0)
    data = b"".join(stream)
    for pieces in ([stream[0]], [stream[0]], stream, stream, cut(data, cuts), [data]):
        known, plain = receive(knowing, pieces, calls), receive(ignorant, pieces, calls)
        assert known[:2] == plain[:2]
        assert plain[2] == 0


def test_an_interim_answer_is_never_taken_for_the_final_one() -> None:
    heads = Memo[Head](64)
    interim = answer("link: a", status="103 Early Hints", body=b"", length=False)
    for _ in range(3):
        receive(heads, [interim + answer(body=b"")], 1)
    answers, _, _ = receive(heads, [interim + answer(body=b"A") + answer(body=b"B")], 2)
    assert [one[-1] for one in answers] == [b"A", b"B"]


def test_what_nobody_asked_for_answers_nobody() -> None:
    async def test() -> None:
        pool, wire = Pool("127.0.0.1", 9), Wire()
        connection = UpstreamConnection(pool)
        connection.connection_made(wire)  # type: ignore[arg-type] # all of a transport that is used
        connection.start(Call(pool, b"?", print))
        connection.data_received(WARM + WARM[:20])
        assert wire.done["abort"]

    asyncio.run(test())


def test_the_head_of_a_warm_answer_is_known_from_its_third_time_on() -> None:
    heads = Memo[Head](64)
    assert [receive(heads, [WARM], 1)[2] for _ in range(4)] == [0, 0, 1, 1]
    assert receive(heads, [WARM * 3], 3)[2] == 3
