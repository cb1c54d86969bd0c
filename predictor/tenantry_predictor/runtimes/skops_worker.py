"""Runs in a forked worker: open a skops file, make a graph of it, or answer with the estimator itself."""

from __future__ import annotations

import socket
import struct
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd

from tenantry_core.wire import Tensor
from tenantry_predictor.runtimes import skops_file
from tenantry_predictor.runtimes.columns import InputColumns, UnknownColumns
from tenantry_predictor.runtimes.conversion import NotConvertible
from tenantry_predictor.runtimes.parity import convert_checked
from tenantry_predictor.runtimes.skops_file import BadSkopsFile, Description
from tenantry_predictor.runtimes.skops_messages import (
    Answers,
    Failed,
    Graph,
    Native,
    Open,
    Reply,
    decode_request,
    encode,
    pack,
    unpack,
)
from tenantry_predictor.runtimes.skops_trust import HostileContent, UntrustedType

_LENGTH = struct.Struct("!Q")

_DATATYPE_OF_KIND = {
    "b": "BOOL",
    "i": "INT64",
    "u": "INT64",
    "f": "FP64",
    "O": "BYTES",
    "U": "BYTES",
    "T": "BYTES",
}
_DTYPE = {"BOOL": np.bool_, "INT64": np.int64, "FP64": np.float64}


class Estimator:
    """A fitted estimator, answering with tensors in the form that its graph would have."""

    def __init__(self, model: Any, description: Description) -> None:
        self.model = model
        self.description = description
        self.columns: InputColumns = description.columns

    def inputs(self) -> tuple[Tensor, ...]:
        if self.columns.numeric:
            return (Tensor("input", "FP64", (-1, len(self.columns.labels))),)
        datatypes = {"number": "FP64", "string": "BYTES"}
        kinds = zip(self.columns.labels, self.columns.kinds, strict=True)
        return tuple(Tensor(label, datatypes[kind], (-1, 1)) for label, kind in kinds)

    def outputs(self) -> tuple[Tensor, ...]:
        classes = getattr(self.model, "classes_", None)
        if classes is None:
            return (Tensor("variable", "FP64", (-1, -1)),)
        label = Tensor("label", _DATATYPE_OF_KIND[np.asarray(classes).dtype.kind], (-1,))
        if not hasattr(self.model, "predict_proba"):
            return (label,)
        return (label, Tensor("probabilities", "FP64", (-1, len(classes))))

    def predict(self, tensors: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str]) -> dict[str, Any]:
        """Raises ValueError or TypeError for input that the estimator refuses."""
        given = self.columns.estimator_input(self._frame(tensors))
        answers: dict[str, Any] = {}
        for output in self.outputs():
            if output.name in outputs:
                raw = (
                    self.model.predict_proba(given)
                    if output.name == "probabilities"
                    else self.model.predict(given)
                )
                answers[output.name] = _tensor(np.asarray(raw), output)
        return answers

    def _frame(self, tensors: Mapping[str, npt.NDArray[Any]]) -> pd.DataFrame:
        if self.columns.numeric:
            return pd.DataFrame(tensors["input"].astype(np.float64), columns=list(self.columns.labels))
        return self.columns.coerce(
            pd.DataFrame({name: tensors[name].ravel() for name in self.columns.labels})
        )


def _tensor(values: npt.NDArray[Any], output: Tensor) -> npt.NDArray[Any]:
    if output.datatype == "BYTES":
        return np.array([str(value) for value in values.ravel()], dtype=object).reshape(values.shape)
    typed: npt.NDArray[Any] = values.astype(_DTYPE[output.datatype])
    return typed.reshape(-1, 1) if len(output.shape) == 2 and typed.ndim == 1 else typed


def serve(connection: socket.socket) -> None:
    """Answer requests, one after the other, until the other side closes."""
    sys.setrecursionlimit(5000)
    warnings.simplefilter("ignore")
    estimator: Estimator | None = None
    # One core a slot: an estimator that was fitted with n_jobs=64 starts no threads or processes here.
    with joblib.parallel_config("sequential"), connection, connection.makefile("rb") as stream:
        while header := stream.read(_LENGTH.size):
            request = decode_request(stream.read(_LENGTH.unpack(header)[0]))
            if isinstance(request, Open):
                reply, estimator = _open(request)
            else:
                reply = _predict(estimator, unpack(request.inputs), request.outputs)
            message = encode(reply)
            connection.sendall(_LENGTH.pack(len(message)) + message)


def _open(request: Open) -> tuple[Reply, Estimator | None]:
    try:
        model, description = skops_file.load(request.content)
        if request.native:
            return _native(model, description, "")
        converted = convert_checked(model, description.columns, description.frame())
    except UntrustedType as error:
        return Failed("FormatNotTrusted", f"The skops file is not opened: {error}."), None
    except (BadSkopsFile, HostileContent, UnknownColumns) as error:
        return Failed("LoadFailed", f"The skops file cannot be served: {error}."), None
    except NotConvertible as error:
        return _native(model, description, str(error))
    except MemoryError:
        return Failed("LoadFailed", "The skops file takes more memory than a model may."), None
    except Exception as error:  # noqa: BLE001 - what a file of a stranger's can raise has no limits
        return Failed("LoadFailed", f"The skops file cannot be opened: {type(error).__name__}: {error}"), None
    return Graph(converted.onnx, str(converted.parity)), None


def _native(model: Any, description: Description, why: str) -> tuple[Reply, Estimator]:
    estimator = Estimator(model, description)
    # Rows only, where nobody ever named the columns.
    columns = (
        description.labels
        if description.named or not description.columns.numeric or description.sample
        else ()
    )
    return Native(why, estimator.inputs(), estimator.outputs(), columns, description.sample), estimator


def _predict(
    estimator: Estimator | None, tensors: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str]
) -> Reply:
    if estimator is None:
        return Failed("LoadFailed", "No model is open.")
    try:
        return Answers(pack(estimator.predict(tensors, outputs)))
    except MemoryError:
        return Failed("", "The answer takes more memory than a model may.")
    except Exception as error:  # noqa: BLE001 - estimators of strangers, inputs of others
        return Failed("", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
