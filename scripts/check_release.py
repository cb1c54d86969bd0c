"""Checks what no other tool does: the lock fits pyproject.toml; changelog, chart and documents its version.

Offline and quick: it asks whether every direct requirement is locked at a version that it allows, not
whether a newer one exists.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "deploy" / "images"


def direct_requirements(pyproject: dict[str, Any]) -> Iterator[Requirement]:
    """What the project, its extras and its dependency groups ask for; its own extras left out."""
    project = pyproject["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    groups += pyproject["dependency-groups"].values()
    for text in (text for group in groups for text in group):
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            yield requirement


def locked_versions(lock: str) -> dict[str, list[str]]:
    """Versions by canonical name; a package may be locked twice, for different Pythons."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock, flags=re.MULTILINE):
        versions.setdefault(canonicalize_name(name), []).append(version)
    return versions


def extra_requirements(pyproject: dict[str, Any], extra: str) -> Iterator[Requirement]:
    """What the project asks for with one extra, and with those that it includes."""
    project = pyproject["project"]
    for text in [*project["dependencies"], *project["optional-dependencies"][extra]]:
        requirement = Requirement(text)
        if requirement.name == project["name"]:
            for included in requirement.extras:
                yield from extra_requirements(pyproject, included)
        else:
            yield requirement


def pins(lock: str) -> dict[str, frozenset[str]]:
    """The hashes of each name==version."""
    blocks = re.findall(r"^(\S+==[^\s;\\]+)(.*(?:\n .*)*)", lock, flags=re.MULTILINE)
    return {pin: frozenset(re.findall(r"sha256:(\w+)", rest)) for pin, rest in blocks}


def unsatisfied(requirements: Iterable[Requirement], lock: str) -> Iterator[Requirement]:
    locked = locked_versions(lock)
    for requirement in requirements:
        versions = locked.get(canonicalize_name(requirement.name), [])
        if not any(requirement.specifier.contains(version, prereleases=True) for version in versions):
            yield requirement


def lock_complaints(pyproject: dict[str, Any]) -> Iterator[str]:
    lock = (ROOT / "requirements.lock").read_text()
    for requirement in unsatisfied(direct_requirements(pyproject), lock):
        yield f"requirements.lock does not satisfy {requirement}: run make lock"
    if "://" in lock:
        yield "requirements.lock records an address: run make lock"
    for part in ("operator", "router", "predictor"):
        part_lock = (IMAGES / f"{part}.lock").read_text()
        for requirement in unsatisfied(extra_requirements(pyproject, part), part_lock):
            yield f"deploy/images/{part}.lock does not satisfy {requirement}: run make lock"
    for path in sorted(IMAGES.glob("*.lock")):
        if not pins(path.read_text()).items() <= pins(lock).items():
            yield f"deploy/images/{path.name} pins what requirements.lock does not: run make lock"


def version_complaints(pyproject: dict[str, Any]) -> Iterator[str]:
    version = pyproject["project"]["version"]
    released = re.search(r"^## \[?([0-9][^\s\]]*)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    if released is None or released[1] != version:
        yield f"CHANGELOG.md does not begin with {version}, the version of pyproject.toml"
    chart = (ROOT / "deploy/helm/tenantry/Chart.yaml").read_text()
    for name in ("version", "appVersion"):
        if f"\n{name}: {version}\n" not in chart:
            yield f"Chart.yaml: {name} is not {version}, the version of pyproject.toml"
    if f"\nARG VERSION={version}\n" not in (IMAGES / "Containerfile").read_text():
        yield f"deploy/images/Containerfile does not set VERSION to {version}, the version of pyproject.toml"
    if f"\n{version}: " not in (ROOT / "README.md").read_text():
        yield f"README.md does not state {version}, the version of pyproject.toml"
    for path in what_people_type():
        for image in other_images(path.read_text(), version):
            yield f"{path.relative_to(ROOT)} names {image}: the version of pyproject.toml is {version}"


def what_people_type() -> Iterator[Path]:
    """What tells a user which images to build, load or start."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").glob("*.md"))
    yield from sorted(path for path in (ROOT / "deploy/kind").rglob("*") if path.is_file())


def other_images(text: str, version: str) -> Iterator[str]:
    """The project's images with a tag that is neither this version nor a shell's variable."""
    for image, tag in re.findall(r"(tenantry/(?:operator|router|predictor|demo-s3):(\d[\w.-]*\b))", text):
        if tag != version:
            yield image


if __name__ == "__main__":
    project_file = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = [*lock_complaints(project_file), *version_complaints(project_file)]
    for complaint in found:
        print(complaint, file=sys.stderr)
    sys.exit(1 if found else 0)
