"""The header fields of a client's request: which ones matter, and what of them travels to the predictor."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from tenantry_core import wire
from tenantry_core.durations import parse_duration
from tenantry_core.http.heads import derived
from tenantry_core.http.messages import Headers, Request
from tenantry_core.oip import json_codec
from tenantry_core.problems import Problem

CONTENT_TYPE = b"content-type"
INFERENCE_HEADER = json_codec.JSON_LENGTH
SERVER_TIMING = b"server-timing"
_CONTENT_ENCODING = b"content-encoding"
TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"
_MATTER = frozenset(
    {
        *(CONTENT_TYPE, _CONTENT_ENCODING, INFERENCE_HEADER, TRACEPARENT, TRACESTATE),
        *(wire.TENANT, wire.USER, wire.TIMEOUT),
    }
)
_TRACEPARENT_FORM = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE_FORM = re.compile(rb"[\x20-\x7e]{1,512}")

_JSON = b"application/json"
_BINARY = b"application/octet-stream"


class Fields(dict[bytes, bytes]):
    """The fields that matter, by lower-case name. Not changed: many requests may have the same."""

    __slots__ = ("lines",)

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(fields)
        self.lines: bytes | None = None
        """What `carried` tells, where it is the same for any body."""


def of(request: Request) -> Fields:
    """The fields of a request, read once for all that have the same head."""
    return derived(request.head, request.headers, read)


def read(headers: Headers) -> Fields:
    """Repeated ones are joined by commas (RFC 9110, 5.3)."""
    fields = Fields()
    for name, value in headers:
        if name in _MATTER:
            fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def carried(fields: Fields, body: bytes) -> bytes:
    """Header lines for the predictor, none of them with bytes of the client's that were not checked.

    Raises Problem: 415 for a type or encoding that no predictor reads, 400 for a malformed length.
    """
    lines = fields.lines
    if lines is None:
        lines = _carried(fields, body)
        if INFERENCE_HEADER not in fields:
            fields.lines = lines
    return lines


def _carried(fields: Fields, body: bytes) -> bytes:
    lines = _content_type(fields.get(CONTENT_TYPE))
    if _CONTENT_ENCODING in fields:
        raise Problem(
            415, "Send the body as it is, without a Content-Encoding.", reason="UnsupportedEncoding"
        )
    if INFERENCE_HEADER in fields:
        lines += b"%b: %d\r\n" % (INFERENCE_HEADER, json_length(fields, body))
    if TRACEPARENT in fields:
        lines += trace(fields)
    return lines


def json_length(fields: Fields, body: bytes) -> int:
    """How many bytes at the start of the body are JSON. Raises Problem 400."""
    return json_codec.json_length(fields.get(INFERENCE_HEADER), body)


def timeout(fields: Fields) -> float | None:
    """Seconds that the client gives the request, or None. Raises Problem 400."""
    text = fields.get(wire.TIMEOUT)
    return None if text is None else _parse_timeout(text)


@lru_cache(maxsize=256)
def _parse_timeout(text: bytes) -> float:
    try:
        return parse_duration(text.decode("latin-1"))
    except ValueError as error:
        raise Problem(400, f"Tenantry-Timeout: {error}.", reason="Malformed") from error


def _content_type(value: bytes | None) -> bytes:
    if value == _JSON:
        return b"content-type: application/json\r\n"
    if value is None:
        return b""
    media_type = value.partition(b";")[0].strip().lower()
    if media_type not in (_JSON, _BINARY):
        raise Problem(
            415,
            f"The body is said to be {media_type.decode('latin-1')!r}: "
            "send JSON (Content-Type: application/json) or binary tensors (application/octet-stream).",
            reason="UnsupportedMediaType",
        )
    return b"content-type: %b\r\n" % media_type


def trace(fields: Fields) -> bytes:
    """The W3C trace context as it came; a malformed one is left out, as its recommendation says."""
    parent, state = fields.get(TRACEPARENT), fields.get(TRACESTATE)
    if parent is None or _TRACEPARENT_FORM.fullmatch(parent) is None:
        return b""
    lines = b"traceparent: %b\r\n" % parent
    if state is not None and _TRACESTATE_FORM.fullmatch(state):
        lines += b"tracestate: %b\r\n" % state
    return lines
