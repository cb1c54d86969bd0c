"""What one fetch may take, and how it goes on where its connection broke."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from tenantry_predictor.errors import StorageUnavailable
from tenantry_predictor.repositories.base import Source, Write

FETCH_SECONDS = 300.0
"""All of one fetch."""
WINDOW_SECONDS = 10.0
WINDOW_BYTES = 64 << 10
"""What has to arrive in each such time: a store that trickles holds a thread no longer."""
_FRUITLESS = 2
"""Connections in a row that broke before they brought anything."""


class Part(NamedTuple):
    """What a store answers: an artifact from some byte on."""

    tag: str
    """Of the whole content."""
    size: int
    """Of the whole content."""
    chunks: Iterator[bytes]
    """Each given as soon as it is there. Raises ConnectionBroke."""


class ConnectionBroke(Exception):
    """In the midst of an answer: what came before it is good."""


OpenPart = Callable[[Source, int, str], AbstractContextManager[Part]]
"""Opens `source` from a byte on, 0 at first; the tag given is that of the part before it, which must be of
the same content. Raises LoadError."""


def fetch_in_parts(source: Source, open_part: OpenPart, write: Write) -> str:
    """All of an artifact, and its tag. After a broken connection it goes on with the bytes that are missing.

    Raises LoadError: StorageUnavailable when the connection breaks again and again.
    """
    received, tag, fruitless = 0, "", 0
    while True:
        before = received
        try:
            with open_part(source, received, tag) as part:
                tag = part.tag
                for chunk in part.chunks:
                    write(chunk)
                    received += len(chunk)
                if received == part.size:
                    return tag
        except ConnectionBroke:
            pass
        fruitless = 0 if received > before else fruitless + 1
        if fruitless == _FRUITLESS:
            raise StorageUnavailable(
                f"{source.uri} cannot be read: the connection to the store breaks after {received} bytes."
            )


class WithinLimits:
    """A `write` that ends a fetch which takes too long, whatever store it comes from."""

    def __init__(self, source: Source, write: Write, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._write = write
        self._clock = clock
        self._deadline = clock() + FETCH_SECONDS
        self._window_ends = clock() + WINDOW_SECONDS
        self._window_bytes = 0

    def __call__(self, chunk: bytes) -> None:
        """Raises StorageUnavailable."""
        self._write(chunk)
        self._window_bytes += len(chunk)
        now = self._clock()
        if now > self._deadline:
            raise StorageUnavailable(f"{self._source.uri} did not arrive within {FETCH_SECONDS:g} s.")
        if now > self._window_ends:
            if self._window_bytes < WINDOW_BYTES:
                raise StorageUnavailable(
                    f"{self._source.uri} arrives too slowly: {self._window_bytes} bytes"
                    f" in {WINDOW_SECONDS:g} s."
                )
            self._window_ends, self._window_bytes = now + WINDOW_SECONDS, 0
