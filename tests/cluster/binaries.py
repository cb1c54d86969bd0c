"""Finds a program: in $KUBEBUILDER_ASSETS, on PATH, or in the cache of what was built."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from cluster.errors import BuildError
from cluster.programs import Program, cache_directory


def require(program: Program) -> Path:
    """The program's path. Never builds: a test must not turn into a build of ten minutes."""
    path = find(program)
    if path is None:
        raise BuildError(
            f"{program.name} is not here. Build what the tests need, once: python tests/cluster/build.py"
        )
    return path


def find(program: Program) -> Path | None:
    """Where the program is, or None. One that is given but too old is passed over."""
    return next((path for path in _candidates(program) if _is_recent(program, path)), None)


def cached_path(program: Program) -> Path:
    """Where the program is kept once built: another pin or another flag makes another folder.

    The Go release is left out on purpose. It does not change what a test sees, and with it a cache
    could not be used, or even found, on a machine without Go.
    """
    digest = hashlib.sha256(program.linker_flags.encode() + program.tags.encode())
    for file in sorted(program.source.iterdir()):
        digest.update(file.read_bytes())
    return cache_directory() / f"{program.project}-{digest.hexdigest()[:12]}" / "bin" / program.name


def _candidates(program: Program) -> Iterator[Path]:
    for variable in ("KUBEBUILDER_ASSETS", "PATH"):
        given = shutil.which(program.name, path=os.environ.get(variable, ""))
        if given is not None:
            yield Path(given).absolute()
    cached = cached_path(program)
    if cached.exists():
        yield cached


def _is_recent(program: Program, path: Path) -> bool:
    if program.least_version is None:
        return True
    answer = subprocess.run(
        [path, *program.version_arguments], capture_output=True, text=True, timeout=30, check=False
    )
    match = re.search(r"(\d+)\.(\d+)\.\d+", answer.stdout)
    return match is not None and (int(match[1]), int(match[2])) >= program.least_version
