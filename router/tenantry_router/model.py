"""One routed model as the hot path reads it: an entry, and all that can be computed before a request."""

from __future__ import annotations

from urllib.parse import quote

from tenantry_core import wire
from tenantry_core.artifacts import USER_PLACEHOLDER, substitute_user
from tenantry_core.hashing import hash_name, splitmix64
from tenantry_core.names import split_model_key
from tenantry_core.slices import Entry, Target
from tenantry_router.rendezvous import Ranking

CACHE_OUTCOMES = {wire.HIT: b"hit", wire.HIT_LATER: b"hit", b"disk": b"disk", b"miss": b"miss"}
"""What a predictor says, and what callers are told of it."""
VERSION_DIGITS = 12
"""Fewer digits of a digest than these do not name a version."""


class RoutedTarget:
    """One version of a model and where it is placed."""

    __slots__ = (
        "_fields",
        "_key",
        "_routes",
        "at_once",
        "infer_line",
        "metadata_line",
        "per_user",
        "ranking",
        "reference",
        "slots",
        "version",
        "weight",
    )

    def __init__(self, key: str, tenant: str, target: Target) -> None:
        reference = target.reference
        self.reference = reference
        self.slots = target.slots
        self.weight = target.weight
        self.ranking = Ranking(target.slots)
        self.at_once: set[str] = set()
        """What `Destination` keeps of a version that is the same for all users."""
        self.version = reference.version[:VERSION_DIGITS]
        self.per_user = USER_PLACEHOLDER in reference.uri
        path = f"/v2/models/{key}/versions/{reference.version}"
        self.infer_line = f"POST {path}/infer HTTP/1.1\r\n".encode()
        self.metadata_line = f"GET {path} HTTP/1.1\r\n".encode()
        self._key = key
        self._routes: dict[tuple[str, bytes, str], bytes] = {}
        self._fields = (
            b"%b: %b\r\n%b: %b\r\n%b: %b\r\n%b: %b\r\n%b: "
            % (
                *(wire.MODEL, key.encode()),
                *(wire.VERSION, reference.version.encode()),
                *(wire.FORMAT, quote(reference.format).encode()),
                *(wire.TENANT, tenant.encode()),
                wire.ARTIFACT,
            )
        ) + (b"" if self.per_user else _artifact(reference.uri))

    def fields(self, user: str | None) -> bytes:
        """The header lines that say what to load; `user` matters only where `per_user` is set."""
        if self.per_user:
            return self._fields + _artifact(substitute_user(self.reference.uri, user or ""))
        return self._fields

    def route(self, slot: str, cache: bytes, reason: str) -> bytes:
        """The value of `Tenantry-Route`: how an answer came about. `cache` is empty where nobody told."""
        known = self._routes.get((slot, cache, reason))
        if known is not None:
            return known
        parts = [f"slot={slot}", f"model={self._key}", f"version={self.version}"]
        parts += [f"cache={cache.decode()}"] if cache else []
        parts += [f"reason={reason}"]
        value = self._routes[slot, cache, reason] = "; ".join(parts).encode()
        return value


def _artifact(uri: str) -> bytes:
    return quote(uri, safe="/:").encode() + b"\r\n"


class RoutedModel:
    """An entry and its targets, compiled when they are first asked for. A new entry makes a new one."""

    __slots__ = (
        "_targets",
        "entry",
        "hash",
        "key",
        "name",
        "pool",
        "tenant",
        "timeout",
    )

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.key = entry.model
        _, self.name = split_model_key(entry.model)
        self.tenant = entry.tenant
        self.pool = entry.pool
        self.hash = hash_name(entry.model)
        milliseconds = entry.traffic.timeout_milliseconds
        self.timeout = milliseconds / 1000 if milliseconds else None
        """Seconds, or None where the router's own default counts."""
        self._targets: tuple[RoutedTarget, ...] | None = None

    @property
    def targets(self) -> tuple[RoutedTarget, ...]:
        """The versions that have a place. Most models of a large table are never asked for at one router."""
        if self._targets is None:
            placed = (target for target in self.entry.targets if target.slots)
            self._targets = tuple(RoutedTarget(self.key, self.tenant, target) for target in placed)
        return self._targets

    @property
    def age(self) -> tuple[str, str]:
        """Sorts the oldest first: it keeps what two models claim."""
        return self.entry.created, self.entry.uid

    @property
    def per_user(self) -> bool:
        """Whether each user has an artifact of their own, so that no request can do without a user."""
        return any(target.per_user for target in self.targets)

    def target_for(self, key: int) -> RoutedTarget:
        """One of several targets by weight: the same user (`key`) always gets the same one.

        Raises IndexError when the model has no target.
        """
        targets = self.targets
        total = sum(target.weight for target in targets) if len(targets) > 1 else 0
        if not total:
            return targets[0]
        # Finalised once more: the bits that choose among slots must not choose the version too.
        point = splitmix64(key ^ self.hash) % total
        for target in targets:
            point -= target.weight
            if point < 0:
                return target
        raise AssertionError("weights add up to their sum")

    def target_of_version(self, digits: str) -> RoutedTarget | None:
        """The target whose digest begins with `digits` (at least VERSION_DIGITS of them)."""
        if len(digits) < VERSION_DIGITS:
            return None
        return next((t for t in self.targets if t.reference.sha256.startswith(digits)), None)
