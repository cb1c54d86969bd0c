"""Where the programs of a cluster run: on which address, and in whose namespaces."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.ports import LOOPBACK


@dataclass(frozen=True)
class Place:
    """An address that is reachable from here, and the command that leads a program to it."""

    address: str
    enter: tuple[str, ...] = ()


HERE = Place(LOOPBACK)
