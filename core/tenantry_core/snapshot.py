"""The folder a router learns placement from.

    slices/<name>.json   SliceContent, one file a PlacementSlice
    addresses.json       AddressBook, where every slot of every pool is
    source.json          SourceState, whether the feeder is in touch with its source

Files appear whole (written beside, then renamed). Names that begin with a dot are never read.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from tenantry_core.slices import SliceContent, Wire

SLICES = "slices"
ADDRESSES = "addresses.json"
SOURCE = "source.json"

T = TypeVar("T", bound=Wire)
Stamp = tuple[int, int, int]
"""Another one whenever a file is replaced."""


class SlotAddress(Wire, frozen=True):
    """Where a slot's pod listens. A slot whose pod is surging has the ready one here."""

    slot: str
    pool: str
    host: str
    ports: dict[str, int]
    """By name; `http` is the predictor's."""
    ready: bool = True


class AddressBook(Wire, frozen=True):
    slots: tuple[SlotAddress, ...] = ()


class SourceState(Wire, frozen=True):
    source: str
    """`kubernetes` or `local`."""
    connected: bool
    since: float
    """Unix time, in seconds, of the last change of `connected`."""


class SnapshotError(Exception):
    """A file of the folder cannot be read; the message names it."""


class SnapshotFolder:
    """Reads and writes the folder; one writer at a time, any number of readers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_slice(self, name: str, content: SliceContent) -> None:
        self._write(self.path / SLICES / f"{name}.json", content)

    def delete_slice(self, name: str) -> None:
        (self.path / SLICES / f"{name}.json").unlink(missing_ok=True)

    def write_addresses(self, book: AddressBook) -> None:
        self._write(self.path / ADDRESSES, book)

    def write_source(self, state: SourceState) -> None:
        self._write(self.path / SOURCE, state)

    def slice_names(self) -> list[str]:
        """Names of the slices that are there now, sorted."""
        return sorted(self.slice_stamps() or ())

    def slice_stamps(self) -> dict[str, Stamp] | None:
        """What tells a slice's file from the one before, by name; None where there is no folder of slices.

        Some file systems (tmpfs) leave out a file that is replaced meanwhile: see `slice_stamp`. Raises
        OSError, for lack of file descriptors, say.
        """
        stamps = {}
        try:
            with os.scandir(self.path / SLICES) as files:
                for file in files:
                    name, suffix = os.path.splitext(file.name)
                    if suffix == ".json" and not name.startswith("."):
                        with contextlib.suppress(FileNotFoundError):  # it was there a moment ago
                            stamps[name] = stamp(file.stat())
        except (FileNotFoundError, NotADirectoryError):
            return None
        return stamps

    def slice_stamp(self, name: str) -> Stamp | None:
        """Of one slice; None where it is not there. Raises OSError."""
        try:
            return stamp((self.path / SLICES / f"{name}.json").stat())
        except FileNotFoundError:
            return None

    def read_slice(self, name: str) -> SliceContent | None:
        """None when there is no such slice. Raises SnapshotError when it is no valid slice."""
        return _read(self.path / SLICES / f"{name}.json", SliceContent)

    def read_addresses(self) -> AddressBook:
        """Empty while none were written. Raises SnapshotError."""
        return _read(self.path / ADDRESSES, AddressBook) or AddressBook()

    def read_source(self) -> SourceState | None:
        return _read(self.path / SOURCE, SourceState)

    def _write(self, path: Path, content: Wire) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_bytes(msgspec.json.encode(content))
            part.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()


def stamp(status: os.stat_result) -> Stamp:
    """Of a file with this status."""
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"{path}: {error}") from error
