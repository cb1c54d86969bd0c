"""Runs in a forked worker: open a model file, make a graph of it, or answer with the model itself."""

from __future__ import annotations

import socket
import struct
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import joblib
import numpy.typing as npt

from tenantry_predictor.runtimes.columns import UnknownColumns
from tenantry_predictor.runtimes.conversion import NotConvertible
from tenantry_predictor.runtimes.description import Description
from tenantry_predictor.runtimes.estimator import Estimator
from tenantry_predictor.runtimes.messages import (
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
from tenantry_predictor.runtimes.parity import convert_checked
from tenantry_predictor.runtimes.readers import FORMATS, BadArtifact, reader_of
from tenantry_predictor.runtimes.skops_trust import UntrustedType

_LENGTH = struct.Struct("!Q")


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
    title = FORMATS[request.format].title
    try:
        reader = reader_of(request.format)
        model, description = reader.read(request.content)
        if request.native:
            return _native(model, description, "")
        converted = convert_checked(model, description.columns, description.frame(), reader)
    except UntrustedType as error:
        return Failed("FormatNotTrusted", f"The {title} file is not opened: {error}."), None
    except (BadArtifact, UnknownColumns) as error:
        return Failed("LoadFailed", f"The {title} file cannot be served: {error}."), None
    except NotConvertible as error:
        return _native(model, description, str(error))
    except MemoryError:
        return Failed("LoadFailed", f"The {title} file takes more memory than a model may."), None
    except Exception as error:  # noqa: BLE001 - what a file of a stranger's can raise has no limits
        words = f"{type(error).__name__}: {error}"
        return Failed("LoadFailed", f"The {title} file cannot be opened: {words}"), None
    return Graph(converted.onnx, str(converted.parity)), None


def _native(model: Any, description: Description, why: str) -> tuple[Reply, Estimator]:
    estimator = Estimator(model, description.columns)
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
