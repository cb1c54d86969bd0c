"""The project's images, built where no registry is reachable: python tests/cluster/images.py

A base is made from Debian's packages, once. The archives stay outside the clone, as programs do, by the
hash of all that goes into them; packages are a layer of their own, so that a changed source costs seconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster.errors import BuildError
from cluster.programs import cache_directory

_ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("operator", "router", "predictor")
# What .containerignore lets into the build.
_SOURCES = ("LICENSE", "README.md", "pyproject.toml", ".containerignore", "deploy/images", "crds", "core", *_PARTS, "cli")
_LEFT_OUT = ("doc", "info", "locale", "man")
# Stands in for python:3.13-slim: the same Debian and the same Python.
_BASE_RECIPE = (
    "mmdebstrap",
    "--variant=essential",
    "--include=ca-certificates,python3,python3-venv",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT),
    '--customize-hook=ln -s python3 "$1/usr/bin/python"',
    "--quiet",
    "trixie",
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Images:
    """Docker-archives of tenantry/operator, tenantry/router and tenantry/predictor, all with one tag."""

    tag: str
    operator: Path
    router: Path
    predictor: Path


def images() -> Images:
    """The images of this source, built unless they are in the cache. Raises BuildError."""
    tag = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
    directory = _cache() / f"archives-{_digest_of_sources()}"
    if not directory.exists():
        with _builder() as environment:
            _build_archives(directory, _base(environment), environment)
    return Images(tag, *(directory / f"{part}.tar" for part in _PARTS))


def successor(given: Images) -> Images:
    """The same predictor as another image, tagged TAG-next: something to roll to. Raises BuildError."""
    tag = f"{given.tag}-next"
    archive = given.predictor.with_name("predictor-next.tar")
    ...


def _cache() -> Path:
    directory = cache_directory() / "images"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _digest_of_sources() -> str:
    digest = hashlib.sha256(repr(_BASE_RECIPE).encode())
    for source in _SOURCES:
        path = _ROOT / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(_ROOT)} {file.stat().st_mode & 0o111}".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


@contextmanager
def _builder() -> Iterator[Mapping[str, str]]:
    """The environment of a buildah with a store of its own; one build at a time on this machine."""
    _check_machine()
    with (_cache() / "lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="tenantry-images-") as run:
        fcntl.flock(lock, fcntl.LOCK_EX)
        settings = Path(run) / "storage.conf"
        store = _cache() / "store"
        settings.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{store}"\nrunroot = "{run}/run"\n')
        # Isolation by chroot: the other kind sets up networks, and leaves them behind.
        environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(settings), "BUILDAH_ISOLATION": "chroot"}
        # What an interrupted build left.
        _run(["buildah", "rm", "--all"], environment)
        yield environment


def _check_machine() -> None:
    missing = [command for command in ("buildah", "mmdebstrap") if shutil.which(command) is None]
    if missing:
        raise BuildError(
            "building images needs packages that are not here; on Debian: "
            f"apt-get install --no-install-recommends {' '.join(missing)}"
        )
    if os.geteuid() != 0:
        raise BuildError("building images needs root: their files belong to several users")


def _base(environment: Mapping[str, str]) -> str:
    """The name of the base image, which is made unless the store has it."""
    name = f"localhost/python:{hashlib.sha256(repr(_BASE_RECIPE).encode()).hexdigest()[:12]}"
    if _run(["buildah", "images", "--quiet", "--filter", f"reference={name}"], environment):
        return name
    _report("making the base image from Debian's packages (about a minute)")
    with tempfile.TemporaryDirectory(dir=_cache()) as scratch:
        tree = f"{scratch}/base.tar"
        _run([*_BASE_RECIPE, tree], environment)
        container = _run(["buildah", "from", "scratch"], environment).strip()
        _run(["buildah", "add", "--quiet", container, tree, "/"], environment)
        _run(["buildah", "config", "--env", f"PATH={_PATH}", container], environment)
        _run(["buildah", "commit", "--quiet", "--rm", "--timestamp=0", container, name], environment)
    return name


def _build_archives(directory: Path, base: str, environment: Mapping[str, str]) -> None:
    _report("building the images (3 minutes when packages changed, else some seconds)")
    ...


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        last_lines = "\n".join((answer.stdout + answer.stderr).splitlines()[-10:])
        raise BuildError(f"{command[0]} {command[1]} ended with {answer.returncode}:\n{last_lines}")
    return answer.stdout


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
