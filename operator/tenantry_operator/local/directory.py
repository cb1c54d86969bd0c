"""The state directory: what is where, and who may run on it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class StateError(Exception):
    """The state directory cannot be used; the message is a sentence that says what to do."""


class AlreadyRunning(StateError):
    """Another `tenantry up` holds the directory."""


class StateDirectory:
    """Names of everything below the directory.

    lock             held by the running `up`
    up.json          its pid, URL and parts
    token            what router and operator show to predictors
    resources/       what was applied, one file an object
    status/          what the operator says of each object
    events.jsonl     what happened, bounded
    router/          the folder the router learns placement from
    models/          where `publish` puts artifacts unless told otherwise
    cache/<slot>/    a predictor's disk tier
    logs/<role>.log
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.lock = self.path / "lock"
        self.up = self.path / "up.json"
        self.token = self.path / "token"
        self.resources = self.path / "resources"
        self.status = self.path / "status"
        self.events = self.path / "events.jsonl"
        self.router = self.path / "router"
        self.models = self.path / "models"
        self.logs = self.path / "logs"

    @property
    def models_prefix(self) -> str:
        """The storage prefix that is always allowed here."""
        return f"file://{self.models}/"

    def cache(self, slot: str) -> Path:
        return self.path / "cache" / slot

    def log(self, role: str) -> Path:
        return self.logs / f"{role}.log"

    def create(self) -> None:
        """Make the folders and the token that are not there yet. Raises StateError when it cannot."""
        try:
            # Artifacts and tenants' names are nobody else's business on a shared machine.
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.resources, self.status, self.router, self.models, self.logs):
                folder.mkdir(exist_ok=True)
            if not self.token.exists():
                _create_once(self.token, f"{secrets.token_urlsafe(32)}\n".encode())
        except OSError as error:
            raise StateError(
                f"the state directory {self.path} cannot be written ({error.strerror}): "
                "choose another with --state"
            ) from error

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Hold the directory for one `up`. The lock goes with the process, however it ends.

        Raises AlreadyRunning, which names the process and the URL of the one that holds it.
        """
        with self.lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(self._who_runs()) from None
            try:
                yield
            finally:
                self.up.unlink(missing_ok=True)

    def is_running(self) -> bool:
        """Whether an `up` holds the directory now."""
        try:
            with self.lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def describe_up(self, content: Mapping[str, Any]) -> None:
        """Leave word of who runs here: other commands find the URL by it."""
        write_atomically(self.up, json.dumps(content, indent=2).encode())

    def read_up(self) -> dict[str, Any] | None:
        """What the running `up` left; None when none runs."""
        if not self.is_running():
            return None
        try:
            content: dict[str, Any] = json.loads(self.up.read_bytes())
        except FileNotFoundError:
            return None
        return content

    def _who_runs(self) -> str:
        up = self.read_up()
        who = f" (pid {up['pid']}, {up['url']})" if up else ""
        return f"tenantry up already runs on {self.path}{who}: stop it first, or use another --state"


def write_atomically(path: Path, content: bytes) -> None:
    """The file appears whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _write_beside(path, content, mode=0o644)
    try:
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _create_once(path: Path, content: bytes) -> None:
    """The file appears whole, for its owner alone; of several who create it at a time, one does."""
    part = _write_beside(path, content, mode=0o600)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink()


def _write_beside(path: Path, content: bytes, mode: int) -> Path:
    """A new file in the same folder. Names that begin with a dot are never read."""
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
    return Path(part)
