"""Checks what no other tool does: the lock fits pyproject.toml, changelog and chart its version.

Offline and quick: it asks whether every direct requirement is locked at a version that it allows, not
whether a newer one exists.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


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


def complaints() -> Iterator[str]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lock = (ROOT / "requirements.lock").read_text()
    locked = locked_versions(lock)
    for requirement in direct_requirements(pyproject):
        versions = locked.get(canonicalize_name(requirement.name), [])
        if not any(requirement.specifier.contains(version, prereleases=True) for version in versions):
            yield f"requirements.lock does not satisfy {requirement}: run make lock"
    if "://" in lock:
        yield "requirements.lock records an address: run make lock"
    version = pyproject["project"]["version"]
    released = re.search(r"^## \[?([0-9][^\s\]]*)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    if released is None or released[1] != version:
        yield f"CHANGELOG.md does not begin with {version}, the version of pyproject.toml"
    chart = (ROOT / "deploy/helm/tenantry/Chart.yaml").read_text()
    for name in ("version", "appVersion"):
        if f"\n{name}: {version}\n" not in chart:
            yield f"Chart.yaml: {name} is not {version}, the version of pyproject.toml"


if __name__ == "__main__":
    found = list(complaints())
    for complaint in found:
        print(complaint, file=sys.stderr)
    sys.exit(1 if found else 0)
