"""The hot path answers as plain uvicorn with FastAPI does, whatever is sent and however it is cut.

uvicorn itself is asked one request at a time and in one piece: it drops earlier answers when a malformed
request comes behind them in the pipeline, and resets a client that is cut short by its refusal.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_core.http.limits import Limits
from unit.core_http.harness import Server, chunked, get, post, serving

LIMITS = Limits(body_bytes=5_000)


@pytest.fixture(scope="module")
def hot() -> Iterator[Server]:
    with serving(LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    with serving(LIMITS, hot=False) as running:
        yield running


@dataclass(frozen=True)
class Sent:
    """A request's bytes, and whether the two servers word their answers alike."""

    data: bytes
    same_body: bool = True


bodies = st.binary(max_size=3_000)
paths = st.sampled_from(["/echo", "/echo?q=%20a&b", "/problem", "/echo/", "/nothing"])
fields = st.lists(
    st.sampled_from(
        ["X-A: b", "x-empty:", "X-Spaces:   c  ", "Accept: */*", "Content-Type: application/json"]
    ),
    max_size=3,
).map(tuple)
whole = st.builds(lambda path, body, more: post(path, body, *more), paths, bodies, fields)
in_chunks = st.builds(
    lambda path, chunks: chunked(path, *chunks),
    paths,
    st.lists(st.binary(min_size=1, max_size=500), max_size=5),
)
others = st.sampled_from(
    [get("/health"), get("/echo"), get("/stream"), post("/length", b"abc"), b"\r\n" + get("/docs")]
)
well_formed = st.one_of(whole, in_chunks, others).map(Sent)

# After one of these neither server reads on.
last = st.one_of(
    st.builds(lambda path, body: Sent(post(path, body, "Connection: close")), paths, bodies),
    st.builds(lambda body: Sent(post("/echo", body, version="1.0")), bodies),
    st.just(Sent(post("/echo", b"x" * 5_001))),
    st.sampled_from(
        [
            b"nonsense\r\n\r\n",
            post("/echo", b"", "X-A : b"),
            post("/echo", b"", "Content-Length: 1"),
            post("/echo", b"", "Transfer-Encoding: chunked"),
            post("/echo", b"", "X-A: \x01"),
            get("/a b"),
            chunked("/echo", end=b"xyz\r\n\r\n"),
            chunked("/echo", end=b"-1\r\n\r\n"),
        ]
    ).map(lambda data: Sent(data, same_body=False)),
)
conversations = st.tuples(st.lists(well_formed, max_size=6), st.one_of(st.none(), last)).map(
    lambda parts: [*parts[0], *([parts[1]] if parts[1] else [])]
)


def talk(
    server: Server, conversation: list[Sent], cuts: list[int], *, pipelined: bool
) -> list[tuple[int, bytes]]:
    with server.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = []
        turns = [conversation] if pipelined else [[one] for one in conversation]
        for turn in turns:
            stream = b"".join(one.data for one in turn)
            edges = sorted({0, *(cut % (len(stream) + 1) for cut in cuts), len(stream)})
            for start, end in itertools.pairwise(edges):
                client.send(stream[start:end])
            for one in turn:
                answer = client.answer()
                answers.append((answer.status, answer.body if one.same_body else b""))
        return answers


@settings(max_examples=150, deadline=None)
@given(conversations, st.lists(st.integers(0, 20_000), max_size=8), st.booleans())
def test_both_paths_answer_alike(
    hot: Server, plain: Server, conversation: list[Sent], cuts: list[int], pipelined: bool
) -> None:
    expected = talk(plain, conversation, [], pipelined=False)
    assert talk(hot, conversation, cuts, pipelined=pipelined) == expected
