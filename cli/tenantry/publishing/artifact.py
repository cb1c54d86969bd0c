"""A model as bytes, and what is known of it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantry.publishing.card import Input
from tenantry_predictor.runtimes.columns import InputColumns
from tenantry_predictor.runtimes.parity import ParityReport

_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""Where a package is not named like its module."""


@dataclass(frozen=True, slots=True)
class Artifact:
    content: bytes
    format: str
    suffix: str
    """Of its file's name, which tells the format: `.onnx`, `.ubj`."""
    inputs: tuple[Input, ...]
    sample: Any
    """The `/predict` body of one row in the artifact, for predictors to probe it with; None without one."""
    note: str
    """What was found, as a sentence for whoever published it."""
    parity: ParityReport | None = None
    """How the graph compares with the model; None where nothing was compared."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Versions of what the model was made with."""


def table_inputs(columns: InputColumns) -> tuple[Input, ...]:
    return tuple(Input(label, kind) for label, kind in zip(columns.labels, columns.kinds, strict=True))


def libraries_of(model: Any) -> dict[str, str]:
    """Versions of the packages that the classes of a model, and of its parts, come from."""
    parts = [model]
    if hasattr(model, "get_params"):
        parts += model.get_params(deep=True).values()
    classes = {base for part in parts for base in type(part).__mro__}
    modules = {base.__module__.partition(".")[0] for base in classes} | {"numpy"}
    versions = {
        _DISTRIBUTIONS.get(name, name): str(sys.modules[name].__version__)
        for name in sorted(modules)
        if hasattr(sys.modules.get(name), "__version__")
    }
    return {"python": platform.python_version(), **versions}
