"""Where the CustomResourceDefinitions are: in the installed package, or at the root of a checkout."""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).parent / "crds"
_CHECKOUT = Path(__file__).parents[2] / "crds"


def crd_directory() -> Path:
    """The folder with one file a kind, and below it `examples/` and `invalid/`."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def crd_files() -> list[Path]:
    """One CustomResourceDefinition (YAML) each, sorted by name."""
    return sorted(crd_directory().glob("*.yaml"))
