"""From a source to a loaded model: disk tier, else store; check the digest; open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tenantry_predictor.errors import DigestMismatch, LoadError, OutsideAllowedStorage, StorageUnavailable
from tenantry_predictor.repositories.base import Key, ModelRepository, Source
from tenantry_predictor.repositories.disk import DiskTier
from tenantry_predictor.repositories.fetching import WithinLimits
from tenantry_predictor.repositories.lanes import Lanes
from tenantry_predictor.repositories.staging import Staged
from tenantry_predictor.runtimes.base import LoadedModel

Origin = Literal["hit", "disk", "miss"]

_FETCHES = 64
_FETCHES_PER_PLACE = 32
_FETCHES_PER_TENANT = 4
_LOOKS_PER_TENANT = 8
"""Looks at tags, which cost a store next to nothing: thousands of users' artifacts may be due at a time."""
_OPENS = 2
"""At a time, of one format: opening is work for the processor, and a slot has one."""
_NICE = 5
"""Predictions go first where both want a slot's core. With more, a thread that holds the interpreter's
lock is kept from its core by other processes, and everybody waits for it."""
_NICE_LATER = 10
"""Of what nobody waits for."""
_DISK = "disk"
_TAG = "tag"


class Runtimes(Protocol):
    """What opens artifacts. Blocks; all raise LoadError."""

    def open(self, model_format: str, path: Path, /) -> LoadedModel: ...

    def form(self, model_format: str, /) -> str:
        """The name of what is prepared here of an artifact."""
        ...

    def open_prepared(self, content: bytes, /) -> LoadedModel: ...


@dataclass(frozen=True, slots=True)
class Loaded:
    model: LoadedModel
    sha256: str
    tag: str
    """The store's, of what was fetched; empty when it came from the disk tier."""
    origin: Origin
    seconds: float
    """Of reading and opening, without waiting for a turn."""
    again_seconds: float
    """What the next load would take: no fetch where it has been kept on disk."""


class ArtifactLoader:
    """Fetches and opens, a few at a time.

    Each store and format has threads of its own, and each tenant and each place (bucket, host) a share of
    them: a store or a bucket that hangs, a huge artifact, and a format that is slow to open (skops takes up
    to a second) hold up nobody else.
    """

    def __init__(self, stores: Mapping[str, ModelRepository], disk: DiskTier, runtimes: Runtimes) -> None:
        """`stores` by URI scheme."""
        self._stores = stores
        self._disk = disk
        self._runtimes = runtimes
        self._lanes: dict[tuple[str, str], Lanes] = {}
        self._opening: dict[str, threading.Semaphore] = {}
        self._later = Lanes("prepare", 1, 1, nice=_NICE_LATER)

    async def load(
        self,
        source: Source,
        known: str = "",
        *,
        spare_disk: bool = False,
        started: Callable[[], object] = lambda: None,
    ) -> Loaded:
        """Raises LoadError. With `spare_disk` nothing in the disk tier makes room for it.

        `known` is the digest that an unpinned source had when its store was last asked: from the disk it
        is as good, from the store any digest is.

        `started` is called when the first thread takes it up; until then it may be cancelled.
        """
        digest = source.sha256 or known
        if digest and self._disk.holds(source.tenant, digest):
            lanes = self._lanes_of(_DISK, source.format, _OPENS, 1)
            loaded = await lanes.run(source.tenant, lambda: self._from_disk(source, digest), started=started)
            if loaded is not None:
                return loaded
        store, lanes = self._store(source)
        opening = self._opening.setdefault(source.format, threading.Semaphore(_OPENS))
        return await lanes.run(
            source.tenant,
            lambda: self._from_store(source, store, opening, spare_disk),
            place=_place(source),
            started=started,
        )

    async def tag(self, source: Source) -> str:
        """The store's tag of what is there now. Raises LoadError."""
        store, _ = self._store(source)
        place = _place(source)
        lanes = self._lanes_of(place.partition(":")[0], _TAG, _FETCHES, _LOOKS_PER_TENANT, _FETCHES_PER_PLACE)
        return await lanes.run(source.tenant, lambda: _tag(store, source), place=place)

    async def prepare(self, key: Key, model: LoadedModel) -> None:
        """Make a wasteful model smaller, and keep for the next time what it was made of."""
        await self._later.run(key.tenant, lambda: self._prepare(key, model))

    def close(self) -> None:
        for lanes in (self._later, *self._lanes.values()):
            lanes.close()
        self._disk.close()

    # In threads

    def _from_disk(self, source: Source, digest: str) -> Loaded | None:
        begun = time.perf_counter()
        with self._disk.read(source.tenant, digest) as path:
            if path is None:
                return None
            try:
                model = self._opened_prepared(source, digest) or self._runtimes.open(source.format, path)
            except FileNotFoundError:  # another predictor shares the folder and made room
                return None
            self._keep_prepared(source, digest, model)
        seconds = time.perf_counter() - begun
        return Loaded(model, digest, "", "disk", seconds, seconds)

    def _from_store(
        self, source: Source, store: ModelRepository, opening: threading.Semaphore, spare_disk: bool
    ) -> Loaded:
        begun = time.perf_counter()
        try:
            staged = self._disk.stage()
        except OSError as error:
            raise StorageUnavailable(f"The disk cache takes no new file: {error.strerror}.") from error
        try:
            tag = _fetch(store, source, staged)
            _check_digest(source, staged)
            fetched = time.perf_counter() - begun
            with opening:
                begun = time.perf_counter()
                model = self._open(source, staged)
            opened = time.perf_counter() - begun
            self._disk.keep(source.tenant, staged, evict=not spare_disk)
            kept = self._disk.holds(source.tenant, staged.sha256)
            self._keep_prepared(source, staged.sha256, model)
            seconds = fetched + opened
            return Loaded(model, staged.sha256, tag, "miss", seconds, opened if kept else seconds)
        finally:
            staged.discard()

    def _open(self, source: Source, staged: Staged) -> LoadedModel:
        try:
            return self._runtimes.open(source.format, staged.path)
        except OSError as error:
            raise StorageUnavailable(
                f"{source.uri} was fetched but cannot be read: {error.strerror}."
            ) from error

    def _opened_prepared(self, source: Source, sha256: str) -> LoadedModel | None:
        content = self._disk.prepared(source.tenant, sha256, self._runtimes.form(source.format))
        if content is None:
            return None
        try:
            return self._runtimes.open_prepared(content)
        except LoadError:
            self._disk.drop_prepared(source.tenant, sha256)
            return None

    def _keep_prepared(self, source: Source, sha256: str, model: LoadedModel) -> None:
        if model.prepared:
            form = self._runtimes.form(source.format)
            self._disk.prepare(source.tenant, sha256, form, model.prepared)
            model.prepared = b""

    def _prepare(self, key: Key, model: LoadedModel) -> None:
        form = self._runtimes.form(key.format)
        with self._disk.read(key.tenant, key.sha256) as path, suppress(LoadError, OSError):
            if path is not None:
                content = self._disk.prepared(key.tenant, key.sha256, form) or path.read_bytes()
                smaller = model.prepare(content)
                self._disk.prepare(key.tenant, key.sha256, form, smaller)

    # In the event loop

    def _store(self, source: Source) -> tuple[ModelRepository, Lanes]:
        scheme = source.uri.partition("://")[0]
        store = self._stores.get(scheme)
        if store is None:
            raise OutsideAllowedStorage(
                f"{source.uri}: no store for {scheme}:// is installed in this predictor."
                f" A package brings it by an entry point {scheme!r} of the group tenantry.repositories."
            )
        return store, self._lanes_of(scheme, source.format, _FETCHES, _FETCHES_PER_TENANT, _FETCHES_PER_PLACE)

    def _lanes_of(
        self, origin: str, model_format: str, total: int, per_lane: int, per_place: int | None = None
    ) -> Lanes:
        lanes = self._lanes.get((origin, model_format))
        if lanes is None:
            name = f"{origin}-{model_format}"
            lanes = self._lanes[origin, model_format] = Lanes(name, total, per_lane, per_place, nice=_NICE)
        return lanes


def _place(source: Source) -> str:
    """What may hang by itself: `s3://bucket`."""
    scheme, _, rest = source.uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _fetch(store: ModelRepository, source: Source, staged: Staged) -> str:
    try:
        return store.fetch(source, WithinLimits(source, staged.write))
    except OSError as error:
        raise _unreachable(source) from error


def _tag(store: ModelRepository, source: Source) -> str:
    try:
        return store.tag(source)
    except OSError as error:
        raise _unreachable(source) from error


def _unreachable(source: Source) -> StorageUnavailable:
    return StorageUnavailable(f"{source.uri} cannot be read: the store cannot be reached.")


def _check_digest(source: Source, staged: Staged) -> None:
    if staged.size == 0:
        raise LoadError("LoadFailed", f"{source.uri} is empty.")
    if source.sha256 and staged.sha256 != source.sha256:
        raise DigestMismatch(
            f"{source.uri} has the digest {staged.sha256}, but {source.sha256} is asked for."
            " It was overwritten, or the digest is of another file."
        )
