"""Which state directories have a running `tenantry up`, so that a command finds it without being told."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from tenantry_operator.local.directory import StateDirectory


def _home() -> Path:
    """The user's own folder for state, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "tenantry"


def default_state() -> Path:
    """The state directory of who names none."""
    return _home() / "default"


@contextlib.contextmanager
def announced(directory: StateDirectory) -> Iterator[None]:
    """Let `running_directories` find this directory meanwhile."""
    note = _home() / "running" / hashlib.sha256(str(directory.path).encode()).hexdigest()[:16]
    # A home that cannot be written costs only this: commands then need --state.
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(str(directory.path))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink()


def running_directories() -> list[StateDirectory]:
    """Those that an `up` of this user holds now. Notes of ones that crashed are passed over."""
    notes = _home() / "running"
    if not notes.is_dir():
        return []
    found = (StateDirectory(Path(note.read_text())) for note in sorted(notes.iterdir()))
    return [directory for directory in found if directory.is_running()]
