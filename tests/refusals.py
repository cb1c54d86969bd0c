"""The files of crds/invalid: manifests in the order they are applied, and how the last is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from tenantry_core.crds import crd_directory


@dataclass(frozen=True)
class Refusal:
    name: str
    path: str
    sentence: str
    manifests: list[dict[str, Any]]


def refusals() -> list[Refusal]:
    """Each file begins with `# path: <field>` and `# expect: <end of the message>`."""
    return [
        _read(path.stem, path.read_text()) for path in sorted((crd_directory() / "invalid").glob("*.yaml"))
    ]


def _read(name: str, text: str) -> Refusal:
    path, sentence = text.splitlines()[:2]
    return Refusal(
        name,
        path.removeprefix("# path: "),
        sentence.removeprefix("# expect: "),
        list(yaml.safe_load_all(text)),
    )
