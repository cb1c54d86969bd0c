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
        folder = self.path / SLICES
        if not folder.is_dir():
            return []
        return sorted(f.stem for f in folder.iterdir() if f.suffix == ".json" and not f.name.startswith("."))

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


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"{path}: {error}") from error
