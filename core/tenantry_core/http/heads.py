"""Heads that come again and again: parsed once, looked up from then on.

A kept-alive client, and a router towards a predictor, repeats its header fields nearly verbatim. A look-up of
their bytes costs a tenth of parsing them, and what an application makes of them is made once, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tenantry_core.http.messages import Headers

LONGEST = 2048
"""Bytes of a head that is remembered."""
MOST_FIELDS = 32
"""Of a head that is remembered: parsed, a field takes far more than its bytes."""
HEADS = 2048


Known = TypeVar("Known")


class Head:
    """The fields of a head, as the parser found them in its bytes."""

    __slots__ = ("derived", "headers", "length")

    def __init__(self, headers: Headers, length: int) -> None:
        self.headers = headers
        self.length = length
        """Of the body; negative where it stands outside of the bytes that are the key."""
        self.derived: Any = None
        """What the application has made of the headers; nothing that can change while they do not."""


def derived(head: Head | None, headers: Headers, derive: Callable[[Headers], Known]) -> Known:
    """What `derive` makes of the headers, made once for all messages that have the same head."""
    if head is None:
        return derive(headers)
    known: Known | None = head.derived
    if known is None:
        known = head.derived = derive(headers)
    return known


def body_length(headers: Headers) -> int | None:
    """Of the body, where fields say it once and are few enough to be remembered; else None."""
    lengths = [value for name, value in headers if name == b"content-length"]
    return int(lengths[0]) if len(lengths) == 1 and len(headers) <= MOST_FIELDS else None


class Memo(Generic[Known]):
    """What is known by bytes, bounded: the least recently used half goes when the other half is full.

    Nothing is remembered at its first sight, so bytes that never come again cost little time and no memory.
    """

    __slots__ = ("_old", "_seen", "_size", "_young")

    def __init__(self, size: int) -> None:
        """Remembers up to twice `size`; 0 remembers nothing."""
        self._size = size
        self._young: dict[bytes, Known] = {}
        self._old: dict[bytes, Known] = {}
        self._seen: set[int] = set()

    def get(self, key: bytes) -> Known | None:
        known = self._young.get(key)
        if known is None:
            known = self._old.pop(key, None)
            if known is not None:
                self.put(key, known)
        return known

    def is_wanted(self, key: bytes) -> bool:
        """Whether `key`, which is not known, has been seen before, and is worth a `put`."""
        if len(key) > LONGEST or not self._size:
            return False
        mark = hash(key)
        if mark in self._seen:
            self._seen.discard(mark)
            return True
        if len(self._seen) >= 4 * self._size:
            self._seen.clear()
        self._seen.add(mark)
        return False

    def put(self, key: bytes, known: Known) -> None:
        if len(self._young) >= self._size:
            self._old = self._young
            self._young = {}
        self._young[key] = known
