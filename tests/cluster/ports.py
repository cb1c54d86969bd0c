"""Ports on the loopback address."""

from __future__ import annotations

import random
import socket
from itertools import islice

LOOPBACK = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections. A server that is stopped
# for a while can then start again on its port, and no client can connect to itself meanwhile.
_CHOICE = range(20_000, 30_000)
# Each is given away once: a process that was given one may take seconds until it listens there.
_untried = iter(random.sample(_CHOICE, k=len(_CHOICE)))


def free_ports(count: int) -> list[int]:
    """So many ports on which nothing listens, and which this process has given to nobody else."""
    free = (port for port in _untried if not is_listening(port))
    return list(islice(free, count))


def is_listening(port: int, address: str = LOOPBACK) -> bool:
    """Whether something accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
