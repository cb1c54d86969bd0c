"""Listening sockets."""

from __future__ import annotations

import errno
import socket

BACKLOG = 2048


class PortTaken(Exception):
    """Another process listens on the address already. The message is a sentence for the user."""


def listen(host: str, port: int, *, count: int = 1) -> list[socket.socket]:
    """`count` listening sockets on one address, among which the kernel spreads new connections.

    From here on a connection waits for the server that is about to start, rather than being refused.
    Raises PortTaken, and OSError where the address is not this host's or may not be used.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    first = socket.socket(family, kind, protocol)
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        # Without SO_REUSEPORT yet, or another server of the same user would silently share the port.
        first.bind(address)
    except OSError as error:
        first.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"Port {port} of {host} is in use by another process.") from error
        raise
    if count == 1:
        first.listen(BACKLOG)
        return [first]
    address = first.getsockname()
    first.close()
    return [_shared(family, kind, protocol, address) for _ in range(count)]


def check_free(host: str, port: int) -> None:
    """For a server that listens by itself. Raises what `listen` does."""
    for sock in listen(host, port):
        sock.close()


def _shared(family: int, kind: int, protocol: int, address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(address)
    sock.listen(BACKLOG)
    return sock
