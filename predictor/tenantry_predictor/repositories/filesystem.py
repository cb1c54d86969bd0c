"""Artifacts in folders: `file:///absolute/path`, below the allowed prefixes only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tenantry_predictor.errors import ArtifactNotFound, OutsideAllowedStorage, StorageUnavailable
from tenantry_predictor.repositories.base import Source, Write

_SCHEME = "file://"
_CHUNK_BYTES = 1 << 16


class FileSystemModelRepository:
    """Reads regular files. A link may lead anywhere below the prefix that allows the URI, not out of it."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._prefixes = [prefix for prefix in prefixes if prefix.startswith(_SCHEME)]

    def fetch(self, source: Source, write: Write) -> str:
        with self._open(source) as descriptor:
            tag = _tag(descriptor)
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                write(chunk)
            if _tag(descriptor) != tag:
                raise StorageUnavailable(f"{source.uri} was written to while it was read.")
            return tag

    def tag(self, source: Source) -> str:
        with self._open(source) as descriptor:
            return _tag(descriptor)

    @contextmanager
    def _open(self, source: Source) -> Iterator[int]:
        try:
            # Without O_NONBLOCK a named pipe would hold the thread for ever.
            descriptor = os.open(source.uri.removeprefix(_SCHEME), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ArtifactNotFound(f"There is no file {source.uri}.") from error
        except OSError as error:
            raise StorageUnavailable(f"{source.uri} cannot be opened: {error.strerror}.") from error
        try:
            self._check(source, descriptor)
            yield descriptor
        except OSError as error:
            raise StorageUnavailable(f"{source.uri} cannot be read: {error.strerror}.") from error
        finally:
            os.close(descriptor)

    def _check(self, source: Source, descriptor: int) -> None:
        """Looks at what was opened, not at the path, which may lead elsewhere a moment later."""
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ArtifactNotFound(f"{source.uri} is no regular file.")
        target = os.path.realpath(f"/proc/self/fd/{descriptor}")
        if not any(target.startswith(root) for root in self._roots(source)):
            raise OutsideAllowedStorage(f"{source.uri} is a link that leads out of the allowed storage.")

    def _roots(self, source: Source) -> Iterator[str]:
        for prefix in self._prefixes:
            allowed = prefix.replace("{namespace}", source.namespace).replace("{tenant}", source.tenant)
            if source.uri.startswith(allowed):
                yield os.path.join(os.path.realpath(allowed.removeprefix(_SCHEME)), "")


def _tag(descriptor: int) -> str:
    status = os.fstat(descriptor)
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
