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


_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
    if status >= 200
}


def encode(response: Response, connection: bytes, *, head_only: bool = False) -> bytes:
    """Status line, fields, Content-Length, `connection` (a whole field line or nothing), body.

    Raises ValueError for a field that would break out of its line, KeyError for a status that is none.
    """
    status, headers, body = response
    parts = [_STATUS_LINES[status]]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    if status in _WITHOUT_BODY:
        body = b""
        parts += (connection, b"\r\n")
    else:
        parts.append(b"content-length: %d\r\n%b\r\n" % (len(body), connection))
    head = b"".join(parts)
    _check_lines(head, len(headers) + 2 + (status not in _WITHOUT_BODY) + (connection != b""))
    return head if head_only else head + body


def _check_lines(head: bytes, expected: int) -> None:
    """No value brought a line of its own (a header field taken from a request may have tried)."""
    if head.count(b"\n") != expected or head.count(b"\r") != expected:
        raise ValueError("a header field holds a line break")


def problem_response(problem: Problem) -> Response:
    """`problem` as an answer."""
    return Response(problem.status, problem.headers(), problem.body())
