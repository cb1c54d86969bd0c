"""The formats that are opened in a worker process, each by a reader: one file beside this one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    import pandas as pd

    from tenantry_predictor.runtimes.columns import InputColumns
    from tenantry_predictor.runtimes.conversion import Precision
    from tenantry_predictor.runtimes.description import Description


class Format(NamedTuple):
    engine: str
    """The library that computes, and the name of the reader's module."""
    title: str
    """The format's name in a sentence."""


FORMATS = {
    "skops": Format("sklearn", "skops"),
    "xgboost": Format("xgboost", "XGBoost"),
    "lightgbm": Format("lightgbm", "LightGBM"),
}


class BadArtifact(Exception):
    """The file cannot be opened, or may not be: the message says why, as the end of a sentence."""


class Reader(Protocol):
    """A module that turns a file into an estimator, and an estimator into a graph."""

    @property
    def precisions(self) -> Sequence[Precision]:
        """In which graphs are tried; the first one that agrees is served."""

    def read(self, content: bytes) -> tuple[Any, Description]:
        """A fitted estimator of scikit-learn's form: `predict`, and of a classifier `predict_proba` and
        `classes_`. Raises BadArtifact, UntrustedType, UnknownColumns; a file of a stranger's may also crash
        the process."""

    def convert(
        self, model: Any, columns: InputColumns, *, sample: pd.DataFrame | None, precision: Precision
    ) -> bytes:
        """An ONNX graph of it, as `conversion` describes. Raises NotConvertible."""


def reader_of(model_format: str) -> Reader:
    """Raises BadArtifact where a package is missing."""
    try:
        module = import_module(f"{__package__}.{FORMATS[model_format].engine}")
    except ModuleNotFoundError as error:
        raise BadArtifact(
            f"the package {error.name} is not installed here; install tenantry[predictor]"
        ) from error
    return cast("Reader", module)


def import_installed() -> None:
    """Import every reader that can be, so that forks of this process have them at once."""
    for model_format in FORMATS:
        with contextlib.suppress(BadArtifact):
            reader_of(model_format)
