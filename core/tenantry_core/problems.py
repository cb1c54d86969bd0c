"""One error type for every HTTP surface, rendered as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

MEDIA_TYPE = b"application/problem+json"


class Problem(Exception):
    """An error that a client is meant to read.

    `error` is one sentence that says what to do; `reason` is a CamelCase word a program can act on
    (`FirstLoad`, `UnknownUser`); `retry_after` is in seconds and becomes the header of that name.
    """

    def __init__(self, status: int, error: str, *, reason: str = "", retry_after: int | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.reason = reason
        self.retry_after = retry_after

    def body(self) -> bytes:
        """The JSON document; the member `error` is the Open Inference Protocol's."""
        document: dict[str, str | int] = {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.error,
            "error": self.error,
        }
        if self.reason:
            document["reason"] = self.reason
        return msgspec.json.encode(document)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Header fields of the answer, without Content-Length (the transport adds it)."""
        fields = [(b"content-type", MEDIA_TYPE)]
        if self.retry_after is not None:
            fields.append((b"retry-after", str(self.retry_after).encode()))
        return fields
