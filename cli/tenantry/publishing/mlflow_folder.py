"""Models that MLflow saved: a folder with `MLmodel`, which names the files. MLflow is not needed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import skops.io
import yaml

from tenantry.publishing.errors import PublishError
from tenantry.publishing.files import Source, read_lightgbm, read_xgboost, unpickled

MODEL_FILE = "MLmodel"
_DAMAGED = (zipfile.BadZipFile, ValueError, TypeError, LookupError, AttributeError)
"""What skops raises for files that it did not write, or that are cut off."""


def read_folder(folder: Path) -> Source:
    """The model, and the input example where one was saved with it. Raises PublishError."""
    described = _described(folder)
    flavors = described.get("flavors") or {}
    for flavor, read in _READERS.items():
        if flavor in flavors:
            try:
                return Source(read(folder, flavors[flavor]), _example(folder, described))
            except OSError as error:
                raise PublishError(f"{folder} lacks a file of the model: {error}") from error
            except (KeyError, TypeError) as error:
                raise PublishError(
                    f"{folder / MODEL_FILE} does not say where the model is: {error}"
                ) from error
            except ModuleNotFoundError as error:
                raise PublishError(f"{folder} needs a package that is not here: {error}") from error
    found = ", ".join(sorted(set(flavors) - {"python_function"})) or "no known kind"
    raise PublishError(
        f"{folder} holds a model of {found}; {', '.join(_READERS)} can be published: export others to ONNX"
    )


def _described(folder: Path) -> dict[str, Any]:
    path = folder / MODEL_FILE
    try:
        described = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise PublishError(f"{folder} is no folder that MLflow saved: it has no {MODEL_FILE}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PublishError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(described, dict):
        raise PublishError(f"{path} is no description of a model")
    return described


def _sklearn(folder: Path, flavor: Mapping[str, Any]) -> Any:
    return _saved_object(folder / flavor["pickled_model"])


def _xgboost(folder: Path, flavor: Mapping[str, Any]) -> Any:
    path, wrapper = folder / flavor["data"], _class_name(flavor)
    return read_xgboost(path, wrapper="" if wrapper == "Booster" else wrapper)


def _lightgbm(folder: Path, flavor: Mapping[str, Any]) -> Any:
    path = folder / flavor["data"]
    return read_lightgbm(path) if _class_name(flavor) == "Booster" else _saved_object(path)


def _onnx(folder: Path, flavor: Mapping[str, Any]) -> bytes:
    return (folder / str(flavor["data"])).read_bytes()


_READERS: dict[str, Callable[[Path, Mapping[str, Any]], Any]] = {
    "onnx": _onnx,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "sklearn": _sklearn,
}


def _class_name(flavor: Mapping[str, Any]) -> str:
    """`XGBRegressor` of `xgboost.sklearn.XGBRegressor`."""
    return str(flavor.get("model_class", "Booster")).rpartition(".")[2]


def _saved_object(path: Path) -> Any:
    """An estimator, as a pickle or as a skops file with whatever types it holds: it is the caller's own."""
    if path.suffix != ".skops":
        return unpickled(path)
    content = path.read_bytes()
    try:
        return skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
    except _DAMAGED as error:
        raise PublishError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _example(folder: Path, described: Mapping[str, Any]) -> pd.DataFrame | None:
    saved = described.get("saved_input_example_info") or {}
    if saved.get("type") != "dataframe":
        return None
    path = folder / str(saved.get("artifact_path"))
    try:
        content = json.loads(path.read_text())
        return pd.DataFrame(content["data"], columns=[str(name) for name in content["columns"]])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(f"the input example cannot be read from {path}: {error}") from error
