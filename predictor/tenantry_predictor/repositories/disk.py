"""The disk tier: fetched artifacts by tenant and digest, within a budget of their own.

    DIR/tmp/RANDOM/             fetches under way of one process, which holds RANDOM/lock as long as it lives
    DIR/models/TENANT/SHA       whole artifacts; a rename puts them there
    DIR/models/TENANT/SHA.FORM  what such an artifact was made into, to be opened faster; sealed

A predictor and its successor may share DIR for a while: each counts what it sees, takes a file that is gone
for a miss, and at its start sweeps what dead processes left in tmp/.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tenantry_core.names import is_tenant
from tenantry_predictor.repositories.claim import claim
from tenantry_predictor.repositories.sealing import seal, unseal
from tenantry_predictor.repositories.staging import Staged

_NAME = re.compile(r"([0-9a-f]{64})(?:\.(.+))?")
_CHUNK_BYTES = 1 << 16
"""`hashlib.file_digest` maps four times as much anew for each file, and most hold less than this."""
_FileKey = tuple[str, str]


class CacheDirectoryUnusable(Exception):
    """The folder cannot be made or written. The message is a sentence for the user."""


@dataclass(slots=True)
class _File:
    size: int
    whole: bool
    """False from its reservation to its rename: then it is neither read nor removed."""
    readers: int = 0
    form: str = ""
    """Of what was made of it, which lies beside it and goes with it; empty where there is nothing."""
    form_size: int = 0

    @property
    def idle(self) -> bool:
        return self.whole and not self.readers

    @property
    def total(self) -> int:
        return self.size + self.form_size


class DiskTier:
    """LRU by file size. Thread-safe; files that are being read are not removed."""

    def __init__(self, directory: Path, budget_bytes: int, limit_bytes: int) -> None:
        """`limit_bytes` bounds one artifact, kept or not. Raises CacheDirectoryUnusable."""
        self._models = directory / "models"
        self.budget_bytes = budget_bytes
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._files: OrderedDict[_FileKey, _File] = OrderedDict()
        self._counter = 0
        self.used_bytes = 0
        try:
            self._models.mkdir(parents=True, exist_ok=True)
            self._temporary, self._hold = claim(directory / "tmp")
            self._adopt()
        except OSError as error:
            raise CacheDirectoryUnusable(f"{directory} cannot hold the cache: {error.strerror}.") from error

    def stage(self) -> Staged:
        """A temporary file to fetch into; `discard` it in any case, also after `keep`."""
        path = self._new_path() if self.budget_bytes else None
        return Staged(path, self._limit, self._drop_oldest)

    def keep(self, tenant: str, staged: Staged, *, evict: bool = True) -> None:
        """Move a complete fetch into the tier if there is room (with `evict=False`: free room).

        Nothing is synced: what a power cut leaves half written does not pass `read`.
        """
        key = (tenant, staged.sha256)
        file = self._reserve(key, staged.size, evict=evict) if staged.on_disk else None
        if file is None:
            return
        target = self._path(key)
        try:
            target.parent.mkdir(exist_ok=True)
            os.replace(staged.path, target)
        except OSError:
            self._forget(key)
            return
        file.whole = True

    def holds(self, tenant: str, sha256: str) -> bool:
        """Whether `read` may find it: without a lock, as the event loop asks, too."""
        return (tenant, sha256) in self._files

    @contextmanager
    def read(self, tenant: str, sha256: str) -> Iterator[Path | None]:
        """The file, which stays while the block runs; None when it is not there or not what it was."""
        key = (tenant, sha256)
        file = self._begin(key)
        if file is None:
            yield None
            return
        path = self._path(key)
        intact = _touch_and_hash(path) == sha256
        try:
            yield path if intact else None
        finally:
            self._end(file)
            if not intact:
                self._forget(key)

    def prepared(self, tenant: str, sha256: str, form: str) -> bytes | None:
        """What `prepare` kept for the artifact; None where it kept nothing of this form, or it is damaged."""
        key = (tenant, sha256)
        with self._lock:
            file = self._files.get(key)
            if file is None or file.form != form:
                return None
        try:
            content = unseal(_label(key, form), self._path(key, form).read_bytes())
        except OSError:  # another predictor shares the folder and made room
            content = None
        if content is None:
            self.drop_prepared(tenant, sha256)
        return content

    def prepare(self, tenant: str, sha256: str, form: str, content: bytes) -> None:
        """Keep what an artifact was made into beside it, in place of what lay there, if there is room."""
        key = (tenant, sha256)
        file = self._begin(key)
        if file is None:
            return
        path = self._new_path()
        try:
            path.write_bytes(seal(_label(key, form), content))
            with self._lock:
                if self._files.get(key) is not file:
                    return  # it was found damaged meanwhile
                self._drop_form(key, file)
                size = path.stat().st_size
                if file.size + size <= self.budget_bytes and self._make_room(size):
                    os.replace(path, self._path(key, form))
                    file.form, file.form_size = form, size
                    self.used_bytes += size
        except OSError:  # the disk is full: without it the artifact opens more slowly
            pass
        finally:
            path.unlink(missing_ok=True)
            self._end(file)

    def drop_prepared(self, tenant: str, sha256: str) -> None:
        """It cannot be opened."""
        with self._lock:
            file = self._files.get((tenant, sha256))
            if file is not None:
                self._drop_form((tenant, sha256), file)

    def close(self) -> None:
        """Drop what is under way."""
        shutil.rmtree(self._temporary, ignore_errors=True)
        os.close(self._hold)

    def _path(self, key: _FileKey, form: str = "") -> Path:
        return self._models / key[0] / (f"{key[1]}.{form}" if form else key[1])

    def _new_path(self) -> Path:
        with self._lock:
            self._counter += 1
            return self._temporary / str(self._counter)

    def _adopt(self) -> None:
        """Take over what an earlier process kept, oldest first; what is no artifact of ours goes."""
        found, forms = [], []
        for path in self._models.glob("*/*"):
            with suppress(FileNotFoundError):
                name = _NAME.fullmatch(path.name)
                if name is None or not is_tenant(path.parent.name):
                    path.unlink()
                    continue
                key, status = (path.parent.name, name[1]), path.stat()
                if name[2] is None:
                    found.append((status.st_mtime_ns, key, status.st_size))
                else:
                    forms.append((key, name[2], status.st_size))
        for _, key, size in sorted(found):
            self._files[key] = _File(size, whole=True)
            self.used_bytes += size
        for key, form, size in forms:
            self._adopt_form(key, form, size)
        with self._lock:
            self._make_room(0)

    def _adopt_form(self, key: _FileKey, form: str, size: int) -> None:
        file = self._files.get(key)
        if file is None or file.form:
            self._path(key, form).unlink(missing_ok=True)
        else:
            file.form, file.form_size = form, size
            self.used_bytes += size

    def _begin(self, key: _FileKey) -> _File | None:
        with self._lock:
            file = self._files.get(key)
            if file is None or not file.whole:
                return None
            file.readers += 1
            self._files.move_to_end(key)
            return file

    def _end(self, file: _File) -> None:
        with self._lock:
            file.readers -= 1

    def _reserve(self, key: _FileKey, size: int, *, evict: bool) -> _File | None:
        with self._lock:
            if key in self._files or size > self.budget_bytes:
                return None
            if self.used_bytes + size > self.budget_bytes and not (evict and self._make_room(size)):
                return None
            file = self._files[key] = _File(size, whole=False)
            self.used_bytes += size
            return file

    def _forget(self, key: _FileKey) -> None:
        with self._lock:
            if key in self._files:
                self._remove(key)

    def _make_room(self, size: int) -> bool:
        for key in list(self._oldest_idle(self.used_bytes + size - self.budget_bytes)):
            self._remove(key)
        return self.used_bytes + size <= self.budget_bytes

    def _oldest_idle(self, bytes_needed: int) -> Iterator[_FileKey]:
        """As many as it takes, and no look at the rest: there may be a hundred thousand."""
        for key, file in self._files.items():
            if bytes_needed <= 0:
                return
            if file.idle:
                bytes_needed -= file.total
                yield key

    def _drop_oldest(self) -> bool:
        """The disk is full although the budget is not: others use it too."""
        with self._lock:
            for key, file in self._files.items():
                if file.idle:
                    self._remove(key)
                    return True
            return False

    def _remove(self, key: _FileKey) -> None:
        file = self._files.pop(key)
        self._drop_form(key, file)
        self.used_bytes -= file.size
        self._path(key).unlink(missing_ok=True)

    def _drop_form(self, key: _FileKey, file: _File) -> None:
        if file.form:
            self._path(key, file.form).unlink(missing_ok=True)
            self.used_bytes -= file.form_size
            file.form, file.form_size = "", 0


def _label(key: _FileKey, form: str) -> str:
    return f"{key[0]}/{key[1]}.{form}"


def _touch_and_hash(path: Path) -> str:
    """Hashing costs a fraction of what opening the model costs, and disks rot. The time orders a restart."""
    digest = hashlib.sha256()
    try:
        os.utime(path)
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()
