"""Placement as routers read it: entries, kept in slices of about a hundred."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from tenantry_core.hashing import hash_name


class Wire(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of everything that is written as JSON: camelCase on the wire, defaults left out."""


class Reference(Wire, frozen=True):
    """All that a predictor needs to load an artifact, beside the model's key and its tenant."""

    uri: str
    format: str
    sha256: str = ""
    """64 hex digits; empty for a `{user_id}` artifact, whose versions are the store's ETags."""

    @property
    def version(self) -> str:
        """What stands in `Tenantry-Version`: 64 digits, or `-` where the bytes are not pinned."""
        return self.sha256 or "-"


class Target(Wire, frozen=True):
    reference: Reference
    slots: tuple[str, ...]
    weight: Annotated[int, msgspec.Meta(ge=0)] = 100


class Users(Wire, frozen=True):
    """Which user ids a model answers for; empty means every user of the tenant."""

    ids: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    @property
    def unfiltered(self) -> bool:
        return not self.ids and not self.prefixes


class Traffic(Wire, frozen=True):
    requests_per_second: int | None = None
    max_concurrency: int | None = None
    timeout_milliseconds: int | None = None


class Unavailable(Wire, frozen=True):
    """Why a model has no target: what the router answers 503 with."""

    reason: str
    message: str


class Entry(Wire, frozen=True):
    """One model as routers see it."""

    model: str
    """The key, `namespace.name`."""
    uid: str
    created: str
    """creationTimestamp, RFC 3339 in UTC, so that text order is time order."""
    revision: int
    tenant: str
    pool: str
    users: Users = Users()
    traffic: Traffic = Traffic()
    targets: tuple[Target, ...] = ()
    unavailable: Unavailable | None = None

    def supersedes(self, other: Entry) -> bool:
        """Of two entries for one model: does this one win? Of another uid the newer object does."""
        if self.uid != other.uid:
            return (self.created, self.uid) > (other.created, other.uid)
        return self.revision > other.revision


class SliceContent(Wire, frozen=True):
    """The part of a PlacementSlice that is the same in etcd and in a router's folder."""

    entries: tuple[Entry, ...] = ()


def slice_name(bits: int, key: str) -> str:
    """The slice of a model: the leading `bits` of xxh64(key), as `placement-<bits>-<index>`."""
    return f"placement-{bits}-{hash_name(key) >> (64 - bits) if bits else 0}"


def slice_bits(name: str) -> int:
    """How many bits a slice's name stands for. Raises ValueError when it is not a slice's name."""
    prefix, bits, index = name.rsplit("-", 2)
    if prefix != "placement" or not 0 <= int(index) < 1 << int(bits):
        raise ValueError(f"{name!r} is no slice name")
    return int(bits)


def winners(entries: Iterable[Entry]) -> dict[str, Entry]:
    """One entry a model, by key, from slices that may hold a model twice while they are split."""
    best: dict[str, Entry] = {}
    for entry in entries:
        known = best.get(entry.model)
        if known is None or entry.supersedes(known):
            best[entry.model] = entry
    return best
