"""A folder that is one process's as long as it lives; what dead ones left is swept."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def claim(parent: Path) -> tuple[Path, int]:
    """A folder for this process's fetches, and the lock that tells others that it lives."""
    parent.mkdir(exist_ok=True)
    with _locked(parent / "lock"):
        for path in parent.iterdir():
            if path.is_dir() and _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)
        mine = Path(tempfile.mkdtemp(dir=parent))
        hold = os.open(mine / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(hold, fcntl.LOCK_EX)
    return mine, hold


def _is_abandoned(path: Path) -> bool:
    try:
        with _locked(path / "lock", fcntl.LOCK_NB):
            return True
    except BlockingIOError:
        return False


@contextmanager
def _locked(path: Path, flags: int = 0) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(descriptor)
