"""The project's images, built where no registry is reachable: python tests/cluster/images.py

The base is made from Debian's packages, once. The archives stay outside the clone, as programs do, by the
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster.errors import BuildError, ClusterError
from cluster.programs import cache_directory

_ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("operator", "router", "predictor")
_FILES = ("LICENSE", "README.md", "pyproject.toml")
_FOLDERS = ("deploy/images", "crds", "core", *_PARTS, "cli")
# Stands in for python:3.13-slim: the same Debian, the same Python.
_BASE = (
    "mmdebstrap",
    "--quiet",
    "--variant=essential",
    "--include=ca-certificates,libstdc++6,python3,python3-venv",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
    '--customize-hook=ln -s python3 "$1/usr/bin/python" && rm -f "$1"/etc/resolv.conf "$1"/etc/hostname',
    "trixie",
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNFINISHED = ".build-"
_KEPT = 2
"""Sets of archives that stay in the cache: each takes 1.6 GB."""


@dataclass(frozen=True)
class Images:
    """Docker-archives of tenantry/operator, tenantry/router and tenantry/predictor, all with the same tag.

    `successor` is one of another predictor image, which does the same: tenantry/predictor:TAG-next.
    """

    tag: str
    operator: Path
    router: Path
    predictor: Path
    successor: Path


def images() -> Images:
    """The images of this source as it is now, built unless they are in the cache. Raises BuildError."""
    cache = cache_directory() / "images"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tenantry-images-") as scratch:
        # A copy, because the source may change while it is built.
        source = _copy_source(Path(scratch) / "source")
        directory = cache / f"archives-{_digest(source)}"
        with _locked(cache) as lock:
            if not directory.exists():
                _check_machine()
                _Builder(cache, Path(scratch), lock).build(source, directory)
            os.utime(directory)
            _forget_old(cache)
    return Images(_tag(), *(directory / f"{name}.tar" for name in (*_PARTS, "successor")))


def _tag() -> str:
    """What deploy/images/build tags with: the version."""
    return str(tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"])


def _copy_source(target: Path) -> Path:
    """All that goes into the build."""
    for folder in _FOLDERS:
        shutil.copytree(_ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in _FILES:
        shutil.copy2(_ROOT / file, target / file)
    return target


def _digest(source: Path) -> str:
    digest = hashlib.sha256(repr(_BASE).encode())
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        digest.update(bytes(file.relative_to(source)))
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


@contextmanager
def _locked(cache: Path) -> Iterator[int]:
    """One build at a time on this machine. The lock's descriptor is for the programs that a build starts:
    when a build is killed, the next one waits for what they still do.
    """
    with (cache / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _report("images are being built already, waiting for that")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _check_machine() -> None:
    missing = [command for command in ("buildah", "mmdebstrap") if shutil.which(command) is None]
    if missing:
        raise BuildError(
            "building images needs packages that are not here; on Debian: "
            f"apt-get install --no-install-recommends {' '.join(missing)}"
        )
    if os.geteuid() != 0:
        raise BuildError("building images needs root: an image's files have owners of their own")


class _Builder:
    """buildah with a store of its own, in the cache."""

    def __init__(self, cache: Path, scratch: Path, lock: int) -> None:
        self._cache = cache
        self._lock = lock
        settings = scratch / "storage.conf"
        settings.write_text(
            f'[storage]\ndriver="overlay"\ngraphroot="{cache}/store"\nrunroot="{scratch}/run"\n'
        )
        # The usual isolation sets up networks, and leaves them behind.
        self._environment = os.environ | {
            "CONTAINERS_STORAGE_CONF": str(settings),
            "BUILDAH_ISOLATION": "chroot",
        }

    def build(self, source: Path, archives: Path) -> None:
        """Writes an archive of each image into a folder that is there only when all are complete."""
        self._tidy()
        with tempfile.TemporaryDirectory(dir=self._cache, prefix=_UNFINISHED) as scratch:
            base = self._make_base(Path(scratch) / "base.tar")
            _report("building the images: seconds, or some minutes where a package changed")
            unfinished = Path(scratch) / "archives"
            script = str(source / "deploy" / "images" / "build")
            self._run(sys.executable, script, "--engine=buildah", f"--base={base}", f"--archive={unfinished}")
            self._make_successor(f"tenantry/predictor:{_tag()}", unfinished / "successor.tar")
            unfinished.rename(archives)

    def _tidy(self) -> None:
        """Removes what a build that was killed has left."""
        self._run("buildah", "rm", "--all")
        for path in self._cache.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path)

    def _make_base(self, tree: Path) -> str:
        """The name of the base image, which is made unless the store has it."""
        name = f"localhost/python:{hashlib.sha256(repr(_BASE).encode()).hexdigest()[:12]}"
        if name not in self._run("buildah", "images", "--format={{.Name}}:{{.Tag}}").split():
            _report("making the base image from Debian's packages: about a minute")
            self._run(*_BASE, str(tree))
            container = self._run("buildah", "from", "scratch").strip()
            self._run("buildah", "add", "--quiet", container, str(tree), "/")
            self._run("buildah", "config", f"--env=PATH={_PATH}", container)
            self._run("buildah", "commit", "--quiet", "--rm", container, name)
        return name

    def _make_successor(self, image: str, archive: Path) -> None:
        """The same layers under another label, and so another image."""
        container = self._run("buildah", "from", f"localhost/{image}").strip()
        self._run("buildah", "config", "--label=successor=true", container)
        name = f"{image}-next"
        self._run("buildah", "commit", "--quiet", "--rm", "--format=docker", container, name)
        self._run("buildah", "push", "--quiet", name, f"docker-archive:{archive}:{name}")

    def _run(self, *command: str) -> str:
        answer = subprocess.run(
            command,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=(self._lock,),
        )
        if answer.returncode != 0:
            last_lines = "\n".join((answer.stdout + answer.stderr).splitlines()[-10:])
            raise BuildError(f"{Path(command[0]).name} ended with {answer.returncode}:\n{last_lines}")
        return answer.stdout


def _forget_old(cache: Path) -> None:
    newest_first = sorted(cache.glob("archives-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for directory in newest_first[_KEPT:]:
        shutil.rmtree(directory)


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Prints the archives' paths, one a line."""
    try:
        built = images()
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(built.operator, built.router, built.predictor, built.successor, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
