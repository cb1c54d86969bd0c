"""Read the model and the sample that somebody wants to publish from files.

Opening a model runs the code that its file holds (pickles do): the file is the caller's own, as is the
machine. Predictors never open such a file.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import msgspec
import pandas as pd

from tenantry.csv_tables import read_csv
from tenantry.publishing.errors import PublishError
from tenantry_core.artifacts import default_format
from tenantry_predictor.runtimes import skops_file
from tenantry_predictor.runtimes.columns import UnknownColumns
from tenantry_predictor.runtimes.skops_trust import HostileContent, UntrustedType

_UNPICKLING_ERRORS = (pickle.UnpicklingError, EOFError, AttributeError, ImportError, ValueError, LookupError)


@dataclass(frozen=True, slots=True)
class Source:
    """A model, and rows that were saved with it."""

    model: Any
    sample: pd.DataFrame | None = None


def read_source(path: Path) -> Source:
    """From a model file, or a folder that MLflow saved. Raises PublishError."""
    if path.is_dir():
        from tenantry.publishing.mlflow_folder import read_folder

        return read_folder(path)
    try:
        return Source(_read_model(path))
    except OSError as error:
        raise PublishError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_model(path: Path) -> Any:
    match default_format(path.name):
        case "onnx":
            return path.read_bytes()
        case "skops":
            return _read_skops(path)
        case "pickle" | "joblib":
            return unpickled(path)
        case "xgboost":
            return read_xgboost(path)
        case "lightgbm":
            return read_lightgbm(path)
    raise PublishError(
        f"{path} is no model file: its name must end in .joblib, .pkl, .skops, .onnx, .ubj, .xgb.json or "
        ".lgb.txt, or it must be a folder that MLflow saved"
    )


def unpickled(path: Path) -> Any:
    try:
        return joblib.load(path)  # it reads what pickle wrote, too
    except _UNPICKLING_ERRORS as error:
        raise PublishError(
            f"{path} cannot be unpickled ({type(error).__name__}: {error}): is it a model, and are the "
            "packages that it needs installed here?"
        ) from error


def _read_skops(path: Path) -> Any:
    try:
        return skops_file.load(path.read_bytes())[0]
    except (skops_file.BadSkopsFile, UntrustedType, HostileContent, UnknownColumns) as error:
        raise PublishError(f"{path}: {error}") from error


def read_xgboost(path: Path, *, wrapper: str = "") -> Any:
    """A Booster, or the class of `xgboost` named `wrapper`."""
    content = path.read_bytes()
    if not content.startswith(b"{"):  # XGBoost ends the process over what is neither JSON nor UBJSON
        raise PublishError(f"{path} is no XGBoost model: it is neither JSON nor UBJSON")
    xgboost = _library("xgboost")
    try:
        model = getattr(xgboost, wrapper or "Booster")()
        model.load_model(bytearray(content))
    except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
        raise PublishError(f"{path} is no XGBoost model: {_first_line(error)}") from error
    return model


def read_lightgbm(path: Path) -> Any:
    content = path.read_bytes()
    lightgbm = _library("lightgbm")
    try:
        return lightgbm.Booster(model_str=content.decode())
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise PublishError(f"{path} is no LightGBM model: {_first_line(error)}") from error


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise PublishError(f"{name} is not installed here: pip install 'tenantry[all]'") from error
    except OSError as error:  # a library of the system's that it is linked with
        raise PublishError(
            f"{name} cannot be loaded ({error}): where it lacks libgomp.so.1, apt-get install libgomp1"
        ) from error


def read_sample(path: Path) -> pd.DataFrame:
    """Rows from CSV with a header, or from a JSON list of records. Raises PublishError."""
    try:
        if path.suffix == ".json":
            sample = pd.DataFrame(msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]]))
        else:
            sample = read_csv(path)
    except OSError as error:
        raise PublishError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # what pandas and msgspec raise for malformed text
        raise PublishError(f"{path} is neither CSV nor a JSON list of records: {error}") from error
    if sample.empty:
        raise PublishError(f"{path} holds no row")
    return sample


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
