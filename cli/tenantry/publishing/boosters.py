"""Models of XGBoost and LightGBM: ONNX where a graph agrees, else the library's own format, without code."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tenantry.publishing.artifact import Artifact, libraries_of, table_inputs
from tenantry.publishing.errors import PublishError
from tenantry_predictor.runtimes.columns import InputColumns, UnknownColumns
from tenantry_predictor.runtimes.conversion import NotConvertible, shortened
from tenantry_predictor.runtimes.parity import ABSOLUTE, RELATIVE, Disagrees, convert_checked
from tenantry_predictor.runtimes.probes import probes
from tenantry_predictor.runtimes.readers import BadArtifact


class Library(NamedTuple):
    format: str
    """Also the library's name, and that of the predictors' module for it."""
    suffix: str
    estimators: str
    """The class that its estimators in scikit-learn's form derive from."""

    def made(self, model: Any) -> bool:
        own = {base.__name__ for base in type(model).__mro__ if base.__module__.startswith(f"{self.format}.")}
        return bool(own & {"Booster", self.estimators})


_LIBRARIES = (Library("xgboost", ".ubj", "XGBModel"), Library("lightgbm", ".lgb.txt", "LGBMModel"))


def library_of(model: Any) -> Library | None:
    """Which of the two made it, told without importing either."""
    return next((library for library in _LIBRARIES if library.made(model)), None)


def encode_booster(library: Library, model: Any, sample: pd.DataFrame | None) -> Artifact:
    """Raises PublishError."""
    runtime: Any = import_module(f"tenantry_predictor.runtimes.{library.format}")
    try:
        native = runtime.dump(model, sample)
        served, described = runtime.read(native)
        columns = described.columns
        _check_alike(model, served, columns, sample)
        row = json.loads(described.sample) if described.sample else None
        inputs, libraries = table_inputs(columns), libraries_of(model)
        converted = convert_checked(served, columns, sample, runtime)
    except NotConvertible as error:
        parity = error.report if isinstance(error, Disagrees) else None
        note = f"published as {library.format}: {error}"
        return Artifact(native, library.format, library.suffix, inputs, row, note, parity, libraries)
    except (BadArtifact, UnknownColumns) as error:
        raise PublishError(str(error)) from error
    except (ValueError, TypeError, AttributeError) as error:  # of a model that was never fitted, for one
        raise PublishError(f"{type(model).__name__} cannot be saved: {shortened(error)}") from error
    note = str(converted.parity)
    return Artifact(converted.onnx, "onnx", ".onnx", inputs, row, note, converted.parity, libraries)


def _check_alike(model: Any, served: Any, columns: InputColumns, sample: pd.DataFrame | None) -> None:
    """An estimator may know more than its booster, such as an objective of the caller's own.

    Raises PublishError.
    """
    if type(model).__name__ == "Booster":
        return
    for probe in probes(served, columns, sample, rows=100):
        given = columns.estimator_input(probe.frame)
        try:
            own, answers = np.asarray(model.predict(given)), np.asarray(served.predict(given))
        except (ValueError, TypeError):
            continue  # made-up rows that one of them refuses prove nothing
        if not _alike(own, answers):
            raise PublishError(
                f"{type(model).__name__} answers {probe.where} otherwise than what its file keeps of it: "
                "convert it to ONNX yourself, and publish the graph"
            )


def _alike(own: Any, answers: Any) -> bool:
    if own.shape != answers.shape:
        return False
    if own.dtype.kind != "f":
        return bool(np.array_equal(own, answers))
    usual = float(np.median(np.abs(own))) if own.size else 0.0
    return bool(np.allclose(answers, own, RELATIVE, ABSOLUTE * usual, equal_nan=True))
