"""Which bytes an unpinned artifact has, as its store told within the refresh interval.

A request names the bytes that it wants by their digest, but not where each user has an artifact: those are
known by the tag of their store (an ETag), which is looked at again while they are in use.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from tenantry_core.http.metrics import Counter
from tenantry_predictor.errors import ArtifactNotFound, LoadError
from tenantry_predictor.repositories.base import Key, Source

REFRESH_SECONDS = 60.0
_REMEMBERED = 50_000
"""Artifacts; each takes about a kilobyte."""
_MOST_CHECKS = 1_000
_CHECK_SECONDS = 5.0
_PATIENCE = 1.0
"""Seconds that a request waits to hear whether its artifact has changed; then it gets the known one."""
_PAUSE_SECONDS = 5.0
"""After a check that failed, until the next one."""

_CHECKS = Counter(
    "tenantry_predictor_refreshes_total",
    "Looks at an artifact of one user: unchanged, changed, gone, or failed (it serves on as it is).",
    ("outcome",),
)
_UNCHANGED, _CHANGED, _GONE, _FAILED = map(_CHECKS.labels, ("unchanged", "changed", "gone", "failed"))


@dataclass(slots=True)
class _Version:
    key: Key
    tag: str
    due: float
    """From then on its store is asked while it serves."""
    until: float
    """From then on a request waits for the store's answer."""


class Cache(Protocol):
    """What is made of the answers."""

    async def refetch(self, source: Source) -> None:
        """Load what its store has now, and `remember` it. Raises LoadError."""
        ...

    def forget(self, source: Source, key: Key, error: ArtifactNotFound) -> None:
        """It is no longer there."""
        ...


class Freshness:
    """For one event loop's thread. An artifact is asked about only when it is asked for.

    `interval` is how old the store's answer may be that a request is served by, as long as the store answers.
    In its second half the store is asked while the artifact serves.
    """

    def __init__(
        self,
        tag: Callable[[Source], Awaitable[str]],
        cache: Cache,
        interval: float = REFRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tag = tag
        self._cache = cache
        self._interval = interval
        self._clock = clock
        self._versions: OrderedDict[Source, _Version] = OrderedDict()
        self._checks: dict[Source, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._versions)

    def remember(self, source: Source, key: Key, tag: str, asked: float) -> None:
        """What the store gave; it was asked at `asked` in the clock's time."""
        self._versions[source] = _Version(key, tag, asked + self._interval / 2, asked + self._interval)
        self._versions.move_to_end(source)
        if len(self._versions) > _REMEMBERED:
            self._versions.popitem(last=False)

    def known(self, source: Source) -> Key | None:
        """What it last was, however long ago."""
        version = self._versions.get(source)
        return version.key if version else None

    def fresh(self, source: Source) -> Key | None:
        """What it is; None: unknown, or `settle` has to be waited for."""
        version = self._versions.get(source)
        if version is None:
            return None
        self._versions.move_to_end(source)
        now = self._clock()
        if now < version.due:
            return version.key
        if source not in self._checks and len(self._checks) < _MOST_CHECKS:
            check = self._checks[source] = asyncio.create_task(self._check(source, version))
            check.add_done_callback(lambda _: self._checks.pop(source, None))
        return version.key if now < version.until else None

    async def settle(self, source: Source) -> None:
        """Wait for the store's word; where it is not heard in time, what is known serves for a while."""
        check = self._checks.get(source)
        if check is not None:
            await asyncio.wait({check}, timeout=_PATIENCE)
        version = self._versions.get(source)
        if version is not None and self._clock() >= version.until:
            self._put_off(version)

    def close(self) -> None:
        for check in self._checks.values():
            check.cancel()

    async def _check(self, source: Source, version: _Version) -> None:
        asked = self._clock()
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                tag = await self._tag(source)
            if tag == version.tag:
                version.due, version.until = asked + self._interval / 2, asked + self._interval
            else:
                await self._cache.refetch(source)
        except ArtifactNotFound as error:
            self._versions.pop(source, None)
            self._cache.forget(source, version.key, error)
            _GONE.inc()
        except (LoadError, TimeoutError):
            self._put_off(version)
            _FAILED.inc()
        else:
            (_UNCHANGED if tag == version.tag else _CHANGED).inc()

    def _put_off(self, version: _Version) -> None:
        version.due = version.until = self._clock() + _PAUSE_SECONDS
