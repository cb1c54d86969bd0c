"""What a connection may cost: sizes, times, and the bytes buffered over all connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, seconds and counts; the same for hot routes and FastAPI, for both are behind one parser."""

    header_bytes: int = 32 * 1024
    """Request line and header fields together; beyond: 431."""
    body_bytes: int = 10 * 1024 * 1024
    """One body; beyond: 413, before it is read where Content-Length tells."""
    header_timeout: float = 10.0
    """From the first byte of a request to the end of its header; beyond: 408."""
    body_timeout: float = 30.0
    """From the end of the header to the end of the body; beyond: 408."""
    idle_timeout: float = 75.0
    """A kept-alive connection without a request is closed. Longer than what sits before it uses."""
    write_timeout: float = 30.0
    """A client that reads no byte of its answers for so long is dropped."""
    pipeline: int = 16
    """Requests of one connection that are worked on at a time; beyond: they wait, and reading pauses."""


class Budget:
    """Body bytes that all connections of a process may hold at a time. One event loop's thread only."""

    __slots__ = ("total", "used")

    def __init__(self, total: int = 256 * 1024 * 1024) -> None:
        self.total = total
        self.used = 0

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False if they are not there (then nothing is reserved)."""
        if self.used + size > self.total:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Return what `take` reserved."""
        self.used -= size
