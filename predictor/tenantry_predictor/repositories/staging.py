"""One artifact on its way in: hashed and counted while it is written to a temporary file."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from tenantry_predictor.errors import LoadError, StorageUnavailable

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Staged:
    """Takes the chunks of a fetch. When the disk is full it goes on in memory: the model is served anyway.

    `path` can be opened by this process and its children until `discard`.
    """

    def __init__(self, path: Path | None, limit_bytes: int, make_room: Callable[[], bool]) -> None:
        """`path` is created; None stages in memory. `make_room` frees disk space, False when it cannot."""
        self._limit = limit_bytes
        self._make_room = make_room
        self._hash = hashlib.sha256()
        self.size = 0
        self.on_disk = path is not None
        if path is None:
            self._descriptor = self._in_memory()
        else:
            self.path = path
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    @functools.cached_property
    def sha256(self) -> str:
        """Of all that was written: asked for once that is all. One string, for those who keep it."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Raises LoadError when the artifact is too large to be kept at all."""
        if self.size + len(chunk) > self._limit:
            raise LoadError("LoadFailed", f"The artifact is larger than {self._limit} bytes.")
        self._hash.update(chunk)
        self._store(memoryview(chunk))
        self.size += len(chunk)

    def discard(self) -> None:
        """Drop the temporary file, unless it was renamed; the memory in any case."""
        os.close(self._descriptor)
        if self.on_disk:
            self.path.unlink(missing_ok=True)

    def _store(self, rest: memoryview) -> None:
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                if error.errno not in _FULL:
                    raise StorageUnavailable(f"The disk cache takes no writes: {error.strerror}.") from error
                if not (self.on_disk and self._make_room()):
                    self._move_to_memory(error)

    def _move_to_memory(self, error: OSError) -> None:
        if not self.on_disk:
            raise StorageUnavailable("Neither disk nor memory has room for the artifact.") from error
        file, old = self._descriptor, self.path
        self._descriptor = self._in_memory()
        self.on_disk = False
        offset = 0
        while chunk := os.pread(file, 1 << 20, offset):
            offset += os.write(self._descriptor, chunk)
        os.close(file)
        old.unlink(missing_ok=True)

    def _in_memory(self) -> int:
        descriptor = os.memfd_create("tenantry-artifact", os.MFD_CLOEXEC)
        self.path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
        return descriptor
