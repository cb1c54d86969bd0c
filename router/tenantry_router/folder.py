"""Follows the snapshot folder into the routing table and the fleet.

File notifications only say *that* something happened; *what* is found by comparing the files' stamps. So an
event that was missed, or an overflow of the kernel's queue, costs at most the time to the next look.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path

from watchfiles import Change, awatch

from tenantry_core.snapshot import ADDRESSES, SLICES, SOURCE, SnapshotError, SnapshotFolder, SourceState
from tenantry_router import metrics
from tenantry_router.fleet import Fleet
from tenantry_router.table import Table

logger = logging.getLogger(__name__)

_LOOK_EVERY = 500
"""Milliseconds, where no notification comes first."""
_SETTLE = 50
"""Milliseconds without a further notification before the files are looked at..."""
_SETTLE_AT_MOST = 200
"""...but no longer than this, however busy the writer is."""

_Stamp = tuple[int, int, int]


class Follower:
    """Reads what has changed. A file that cannot be read leaves its last good content in place."""

    def __init__(self, path: Path, table: Table, fleet: Fleet) -> None:
        self._path = path
        self._folder = SnapshotFolder(path)
        self._table = table
        self._fleet = fleet
        self._stamps: dict[Path, _Stamp | None] = {}
        self.source: SourceState | None = None
        """Whether the folder's writer is in touch with its source; None until it says so."""

    async def follow(self) -> None:
        """Look again whenever something changes, until cancelled."""
        try:
            await self._follow_notifications()
        except OSError as error:  # the system has a limit on watches, and others may have used it up
            logger.warning("%s is looked at twice a second, for lack of notifications: %s", self._path, error)
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_EVERY / 1000)

    async def _follow_notifications(self) -> None:
        watch = awatch(
            self._path,
            watch_filter=_is_whole_file,
            debounce=_SETTLE_AT_MOST,
            step=_SETTLE,
            rust_timeout=_LOOK_EVERY,
            yield_on_timeout=True,
        )
        async with aclosing(watch):
            async for _ in watch:
                await self.look()

    async def look(self) -> None:
        """Take over every file that is new, changed or gone. Lets requests through between two files."""
        self._take(self._path / ADDRESSES, self._take_addresses)
        self._take(self._path / SOURCE, self._take_source)
        if not (self._path / SLICES).is_dir():
            return  # a folder that is gone says nothing about its slices
        try:
            names = self._folder.slice_names()
        except OSError as error:  # for lack of file descriptors, say: the next look may succeed
            _tell(self._path / SLICES, error)
            return
        for name in names:  # before removals: a model may have moved to another slice
            if self._take(self._slice_path(name), partial(self._take_slice, name)):
                await asyncio.sleep(0)
        for name in self._table.slices - set(names):
            self._stamps.pop(self._slice_path(name), None)
            self._table.remove_slice(name)
            await asyncio.sleep(0)

    def _take(self, path: Path, take: Callable[[], None]) -> bool:
        """Whether the file had changed since the last look."""
        stamp = _stamp(path)
        if stamp is None or stamp == self._stamps.get(path):
            return False
        self._stamps[path] = stamp
        try:
            take()
        except (SnapshotError, ValueError) as error:
            _tell(path, error)
            if isinstance(error.__cause__, OSError):  # says nothing about the file: try at the next look
                del self._stamps[path]
        return True

    def _take_addresses(self) -> None:
        self._fleet.set_addresses(self._folder.read_addresses())

    def _take_source(self) -> None:
        self.source = self._folder.read_source()

    def _take_slice(self, name: str) -> None:
        content = self._folder.read_slice(name)
        if content is not None:
            self._table.set_slice(name, content)

    def _slice_path(self, name: str) -> Path:
        return self._path / SLICES / f"{name}.json"


def _tell(path: Path, error: Exception) -> None:
    metrics.CORRUPT_FILES.inc()
    logger.error("%s cannot be read and is ignored: %s", path, error)


def _stamp(path: Path) -> _Stamp | None:
    """Changes whenever the file is replaced; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _is_whole_file(_: Change, path: str) -> bool:
    return not os.path.basename(path).startswith(".")
