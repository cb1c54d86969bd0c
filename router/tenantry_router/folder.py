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

from tenantry_core.snapshot import (
    ADDRESSES,
    SLICES,
    SOURCE,
    SnapshotError,
    SnapshotFolder,
    SourceState,
    Stamp,
    stamp,
)
from tenantry_router import metrics
from tenantry_router.fleet import Fleet
from tenantry_router.table import Table

logger = logging.getLogger(__name__)

_LOOK_EVERY = 500
"""Milliseconds, where no notification comes first."""
_SETTLE = 50
"""Milliseconds without a further notification before the files are looked at..."""
_SETTLE_AT_MOST = 100
"""...but no longer than this, however busy the writer is."""


class Follower:
    """Reads what has changed. A file that cannot be read leaves its last good content in place."""

    def __init__(self, path: Path, table: Table, fleet: Fleet) -> None:
        self._path = path
        self._folder = SnapshotFolder(path)
        self._table = table
        self._fleet = fleet
        self._stamps: dict[str, Stamp] = {}
        """Of what was read last, by the names of slices and of the other files."""
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
        self._take_file(ADDRESSES, self._take_addresses)
        self._take_file(SOURCE, self._take_source)
        try:
            stamps, gone = self._look_at_slices()
        except OSError as error:  # for lack of file descriptors, say: the next look may succeed
            _tell(SLICES, error)
            return
        changed = [name for name, stamp in stamps.items() if stamp != self._stamps.get(name)]
        for name in changed:  # before removals: a model may have moved to another slice
            self._take(name, stamps[name], partial(self._take_slice, name))
            await asyncio.sleep(0)
        for name in gone:
            self._stamps.pop(name, None)
            self._table.remove_slice(name)
            await asyncio.sleep(0)

    def _look_at_slices(self) -> tuple[dict[str, Stamp], set[str]]:
        """The slices that are there, and those of the table that are gone. Raises OSError.

        Models of a slice that goes are in another file before. Where one is gone, that file may have been
        looked at too early: so all are looked at once more. A folder that is gone says nothing.
        """
        stamps = self._slices_there()
        gone = set() if stamps is None else self._table.slices - stamps.keys()
        if gone:
            stamps = self._slices_there()
        return ({}, set()) if stamps is None else (stamps, gone - stamps.keys())

    def _slices_there(self) -> dict[str, Stamp] | None:
        """None where there is no folder. Raises OSError."""
        stamps = self._folder.slice_stamps()
        if stamps is not None:
            for name in self._table.slices - stamps.keys():
                if (found := self._folder.slice_stamp(name)) is not None:
                    stamps[name] = found
        return stamps

    def _take_file(self, name: str, take: Callable[[], None]) -> None:
        """If it is there, and another one than at the last look."""
        try:
            found = stamp((self._path / name).stat())
        except OSError:
            return
        if found != self._stamps.get(name):
            self._take(name, found, take)

    def _take(self, name: str, found: Stamp, take: Callable[[], None]) -> None:
        self._stamps[name] = found
        try:
            take()
        except (SnapshotError, ValueError) as error:
            _tell(name, error)
            if isinstance(error.__cause__, OSError):  # says nothing about the file: try at the next look
                del self._stamps[name]

    def _take_addresses(self) -> None:
        self._fleet.set_addresses(self._folder.read_addresses())

    def _take_source(self) -> None:
        self.source = self._folder.read_source()

    def _take_slice(self, name: str) -> None:
        content = self._folder.read_slice(name)
        if content is not None:
            self._table.set_slice(name, content)


def _tell(name: str, error: Exception) -> None:
    metrics.CORRUPT_FILES.inc()
    logger.error("%s cannot be read and is ignored: %s", name, error)


def _is_whole_file(_: Change, path: str) -> bool:
    return not os.path.basename(path).startswith(".")
