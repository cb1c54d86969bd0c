"""An answer as bytes, ready for one write."""

from __future__ import annotations

from http import HTTPStatus

from tenantry_core.http.messages import Response
from tenantry_core.problems import Problem

CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"
"""Said only to HTTP/1.0 clients, for which closing is the default."""
IMPLICIT = b""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

FAILED = Problem(500, "The server failed to answer this request. Its log says why.", reason="Internal")

_WITHOUT_BODY = frozenset({204, 304})


_LENGTHS = [b"content-length: %d\r\n" % size for size in range(1024)]
_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
    if status >= 200
}


def length_line(size: int) -> bytes:
    """Content-Length, with the end of its line."""
    return _LENGTHS[size] if size < len(_LENGTHS) else b"content-length: %d\r\n" % size


def encode(response: Response, connection: bytes, head_only: bool = False) -> bytes:
    """Status line, fields, Content-Length, `connection` (a whole field line or nothing), body.

    Raises ValueError for a field that would break out of its line, KeyError for a status that is none.
    """
    status, headers, body = response
    size = len(body)
    parts = [_STATUS_LINES[status]]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    lines = len(headers) + 3
    if status in _WITHOUT_BODY:
        body = b""
        lines -= 1
    else:
        parts.append(length_line(size))
    if connection:
        parts.append(connection)
        lines += 1
    parts.append(b"\r\n")
    head = b"".join(parts)
    # Did a value (taken from a request, perhaps) bring a line of its own?
    if head.count(b"\n") != lines or head.count(b"\r") != lines:
        raise ValueError("a header field holds a line break")
    return head if head_only else head + body


def problem_response(problem: Problem) -> Response:
    """`problem` as an answer."""
    return Response(problem.status, problem.headers(), problem.body())
