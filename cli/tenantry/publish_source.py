"""Read the model and the sample that somebody wants to publish."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import joblib
import msgspec
import pandas as pd

from tenantry.csv_tables import read_csv
from tenantry.publish import OnnxFile, PublishError
from tenantry_core.artifacts import default_format
from tenantry_predictor.runtimes import skops_file
from tenantry_predictor.runtimes.columns import UnknownColumns
from tenantry_predictor.runtimes.skops_trust import HostileContent, UntrustedType

_UNPICKLING_ERRORS = (pickle.UnpicklingError, EOFError, AttributeError, ImportError, ValueError, LookupError)


def read_model(path: Path) -> Any:
    """A fitted estimator, or an OnnxFile. Runs the code in a pickle: the file is the caller's own.

    Raises PublishError.
    """
    kind = default_format(path.name)
    try:
        if kind == "onnx":
            return OnnxFile(path.read_bytes())
        if kind == "skops":
            return skops_file.load(path.read_bytes())[0]
        if kind in ("pickle", "joblib"):
            return joblib.load(path)  # it reads what pickle wrote, too
    except OSError as error:
        raise PublishError(f"{path} cannot be read: {error.strerror or error}") from error
    except (skops_file.BadSkopsFile, UntrustedType, HostileContent, UnknownColumns) as error:
        raise PublishError(f"{path}: {error}") from error
    except _UNPICKLING_ERRORS as error:
        raise PublishError(
            f"{path} cannot be unpickled ({type(error).__name__}: {error}): is it a model, and are the "
            "packages that it needs installed here?"
        ) from error
    raise PublishError(f"{path} is no model file: its name must end in .joblib, .pkl, .skops or .onnx")


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
