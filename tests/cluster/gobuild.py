"""Builds a program from its pinned Go module into the cache."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import toolchain
from cluster.binaries import cached_path
from cluster.errors import BuildError
from cluster.programs import Program, cache_directory

_LIMIT_SECONDS = 30 * 60
_SECONDS_BETWEEN_REPORTS = 20


def build(program: Program) -> Path:
    """Builds the program unless it is in the cache, and gives its path there."""
    target = cached_path(program)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock():
        if not target.exists():
            _build_into(target, program)
    return target


@contextmanager
def _lock() -> Iterator[None]:
    """One build at a time on this machine: a second one would compile the same packages again."""
    with (cache_directory() / "build.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _report("another build is under way, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_into(target: Path, program: Program) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
        output = Path(scratch) / program.name
        log = Path(scratch) / "go.log"
        command = [str(toolchain.go()), "build", *program.build_flags, "-o", str(output), program.package]
        _run(command, program, log)
        output.rename(target)


def _run(command: list[str], program: Program, log: Path) -> None:
    title = f"building {program.name} (about {program.duration})"
    _report(title)
    started = time.monotonic()
    with log.open("w") as file:
        # A group of its own: Go's compilers must not outlive an interrupted build.
        process = subprocess.Popen(
            command,
            cwd=program.source,
            env=_environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = _wait(process, title, started)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0:
        last_lines = "\n".join(log.read_text().splitlines()[-10:])
        raise BuildError(f"{program.name} could not be built, go ended with {code}:\n{last_lines}")
    _report(f"built {program.name} in {time.monotonic() - started:.0f} s")


def _wait(process: subprocess.Popen[bytes], title: str, started: float) -> int:
    while True:
        try:
            return process.wait(timeout=_SECONDS_BETWEEN_REPORTS)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - started
            if elapsed > _LIMIT_SECONDS:
                raise BuildError(f"{title}: not done after {elapsed / 60:.0f} minutes, given up") from None
            _report(f"{title} ... {elapsed:.0f} s")


def _environment() -> dict[str, str]:
    """Static executables, and the chosen Go itself rather than another one it could fetch."""
    environment = {name: value for name, value in os.environ.items() if name != "GOROOT"}
    return environment | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
