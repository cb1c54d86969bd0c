"""From a source to a loaded model: disk tier, else store; check the digest; open."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tenantry_predictor.errors import DigestMismatch, LoadError, OutsideAllowedStorage, StorageUnavailable
from tenantry_predictor.repositories.base import ModelRepository, Source
from tenantry_predictor.repositories.disk import DiskTier
from tenantry_predictor.repositories.lanes import Lanes
from tenantry_predictor.repositories.staging import Staged
from tenantry_predictor.runtimes.base import LoadedModel

Origin = Literal["hit", "disk", "miss"]
Open = Callable[[str, Path], LoadedModel]

_FETCHES = 64
_FETCHES_PER_TENANT = 2
_OPENS = 2
"""Of one format: opening is work for the processor, and a slot has one."""


@dataclass(frozen=True, slots=True)
class Loaded:
    model: LoadedModel
    sha256: str
    tag: str
    """The store's, of what was fetched; empty when it came from the disk tier."""
    origin: Origin
    seconds: float
    """Of reading and opening, without waiting for a turn."""


class ArtifactLoader:
    """Fetches and opens, a few at a time. Each store has threads of its own, each tenant a share of them."""

    def __init__(self, stores: Mapping[str, ModelRepository], disk: DiskTier, open_model: Open) -> None:
        """`stores` by URI scheme."""
        self._stores = stores
        self._disk = disk
        self._open = open_model
        self._fetches = {scheme: Lanes(f"fetch-{scheme}", _FETCHES, _FETCHES_PER_TENANT) for scheme in stores}
        self._opens: dict[str, Lanes] = {}

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
        if digest:
            opens = self._opens_of(source.format)
            loaded = await opens.run(source.tenant, lambda: self._from_disk(source, digest), started=started)
            if loaded is not None:
                return loaded
        staged = self._stage()
        try:
            return await self._from_store(source, staged, spare_disk, started)
        finally:
            staged.discard()

    async def tag(self, source: Source) -> str:
        """The store's tag of what is there now. Raises LoadError."""
        store, lanes = self._store(source)
        return await lanes.run(source.tenant, lambda: store.tag(source))

    def close(self) -> None:
        for lanes in (*self._fetches.values(), *self._opens.values()):
            lanes.close()
        self._disk.close()

    def _from_disk(self, source: Source, digest: str) -> Loaded | None:
        begun = time.perf_counter()
        with self._disk.read(source.tenant, digest) as path:
            if path is None:
                return None
            try:
                model = self._open(source.format, path)
            except FileNotFoundError:  # another predictor shares the folder and made room
                return None
        return Loaded(model, digest, "", "disk", time.perf_counter() - begun)

    async def _from_store(
        self, source: Source, staged: Staged, spare_disk: bool, started: Callable[[], object]
    ) -> Loaded:
        store, lanes = self._store(source)

        def fetch() -> tuple[str, float]:
            begun = time.perf_counter()
            tag = store.fetch(source, staged.write)
            _check_digest(source, staged)
            return tag, time.perf_counter() - begun

        def open_and_keep() -> tuple[LoadedModel, float]:
            begun = time.perf_counter()
            model = self._open(source.format, staged.path)
            self._disk.keep(source.tenant, staged, evict=not spare_disk)
            return model, time.perf_counter() - begun

        tag, fetching = await lanes.run(source.tenant, fetch, started=started)
        model, opening = await self._opens_of(source.format).run(source.tenant, open_and_keep)
        return Loaded(model, staged.sha256, tag, "miss", fetching + opening)

    def _store(self, source: Source) -> tuple[ModelRepository, Lanes]:
        scheme = source.uri.partition("://")[0]
        store = self._stores.get(scheme)
        if store is None:
            raise OutsideAllowedStorage(f"{source.uri}: this predictor reads no {scheme}://.")
        return store, self._fetches[scheme]

    def _opens_of(self, model_format: str) -> Lanes:
        """Formats that are slow to open (skops takes up to a second) hold up no others."""
        lanes = self._opens.get(model_format)
        if lanes is None:
            lanes = self._opens[model_format] = Lanes(f"open-{model_format}", _OPENS, 1)
        return lanes

    def _stage(self) -> Staged:
        try:
            return self._disk.stage()
        except OSError as error:
            raise StorageUnavailable(f"The disk cache takes no new file: {error.strerror}.") from error


def _check_digest(source: Source, staged: Staged) -> None:
    if staged.size == 0:
        raise LoadError("LoadFailed", f"{source.uri} is empty.")
    if source.sha256 and staged.sha256 != source.sha256:
        raise DigestMismatch(
            f"{source.uri} has the digest {staged.sha256}, but {source.sha256} is asked for."
            " It was overwritten, or the digest is of another file."
        )
