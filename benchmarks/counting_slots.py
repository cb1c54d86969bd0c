"""Slots that count: one process that listens on many ports, each of which answers one request after another.

    python benchmarks/counting_slots.py MILLISECONDS PORT...

A port takes so long for a request, and has a queue, as a slot with one core does. `GET /counts` tells, and
forgets, how many requests each port has had; `GET /keys` the port that each path was last sent to.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    b"tenantry-cache: hit\r\ncontent-length: 5\r\n\r\n[0.5]"
)


class Slots:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.counts: Counter[int] = Counter()
        self.keys: dict[str, int] = {}
        self.free: dict[int, float] = {}
        """When each port has answered all that it was asked, in the loop's time."""


class Connection(asyncio.Protocol):
    """Answers in order, which is the order in which its port takes requests."""

    def __init__(self, slots: Slots, port: int) -> None:
        self._slots = slots
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            _, _, length = head.partition(b"content-length:")
            whole = end + 4 + int(length.split(b"\r\n", 1)[0] or 0)
            if len(self._received) < whole:
                return
            path = self._received.split(b" ", 2)[1].decode()
            self._received = self._received[whole:]
            self._answer(path)

    def _answer(self, path: str) -> None:
        slots, port = self._slots, self._port
        if path in ("/counts", "/keys"):
            self._tell(slots.counts if path == "/counts" else slots.keys)
        elif path.startswith("/v2/health/"):
            self._transport.write(_ANSWER)
        else:
            slots.counts[port] += 1
            slots.keys[path] = port
            slots.free[port] = max(self._loop.time(), slots.free.get(port, 0.0)) + slots.seconds
            self._loop.call_at(slots.free[port], self._transport.write, _ANSWER)

    def _tell(self, what: dict[int, int] | dict[str, int]) -> None:
        body = json.dumps(what).encode()
        what.clear()
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def serve(seconds: float, ports: list[int]) -> None:
    """Serve until cancelled."""
    loop, slots = asyncio.get_running_loop(), Slots(seconds)
    for port in ports:
        await loop.create_server(lambda port=port: Connection(slots, port), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000, [int(port) for port in sys.argv[2:]]))
