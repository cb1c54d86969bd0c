"""An answer as bytes, ready for one write."""

from __future__ import annotations

from http import HTTPStatus

from tenantry_core.http.messages import Headers, Response
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


def field_lines(headers: Headers) -> bytes:
    """Raises ValueError for a field that would break out of its line."""
    parts = []
    for name, value in headers:
        parts.append(name)
        parts.append(b": ")
        parts.append(value)
        parts.append(b"\r\n")
    lines = b"".join(parts)
    # Did a value (taken from a request, perhaps) bring a line of its own?
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise ValueError("a header field holds a line break")
    return lines


def encode(response: Response, connection: bytes, head_only: bool = False) -> bytes:
    """Status line, fields, Content-Length, `connection` (a whole field line or nothing), body.

    Raises ValueError for a field that would break out of its line, KeyError for a status that is none.
    """
    status, headers, body, lines = response
    status_line = _STATUS_LINES[status]
    fields = lines or field_lines(headers)
    if status in _WITHOUT_BODY:
        return b"".join((status_line, fields, connection, b"\r\n"))
    length = length_line(len(body))
    return b"".join((status_line, fields, length, connection, b"\r\n", b"" if head_only else body))


def problem_response(problem: Problem) -> Response:
    """`problem` as an answer."""
    return Response(problem.status, problem.headers(), problem.body())
