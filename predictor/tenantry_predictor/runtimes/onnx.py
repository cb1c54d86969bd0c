"""ONNX files, run by ONNX Runtime with one thread a session."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from tenantry_core.problems import Problem
from tenantry_core.wire import Tensor
from tenantry_predictor.runtimes.base import AnyArray, LoadedModel, LoadError
from tenantry_predictor.runtimes.memory import METER, return_freed_memory
from tenantry_predictor.runtimes.onnx_checks import check_graph

COLUMNS_KEY = "tenantry.columns"
"""Metadata of the file: a JSON list of the column names."""
SAMPLE_KEY = "tenantry.sample"
"""Metadata of the file: a `/predict` body of one row, JSON."""

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
# ONNX Runtime's errors have no common base of their own.
_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotFound,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    ort_errors.EPFail,
    RuntimeError,
    ValueError,
)
_FOLDED_BYTES = 16 << 20
"""What is constant is computed when a file is opened, but for results larger than this."""
_MOST_BYTES = 64 << 20
"""Of one prediction's results: they become JSON, a value at a time, in the one process of all models."""
_NO_MEMORY = re.compile(r"bad_alloc|bad allocation|Failed to allocate memory")
_ERROR_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SOURCE = re.compile(r"\S+\.(?:cc|h):\d+ (?:.*?\[with .*?\] |\S+ )")
"""A place in the runtime's own code."""


class OnnxModel(LoadedModel):
    """One session. Outputs that are no tensors (zipmap's list of dictionaries) do not exist for callers."""

    engine = "onnx"

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = tuple(_tensor(node) for node in session.get_inputs())
        self.outputs = tuple(_tensor(node) for node in session.get_outputs() if node.type in _DATATYPES)
        metadata = session.get_modelmeta().custom_metadata_map
        self.columns = _columns(metadata, self.inputs)
        sample = metadata.get(SAMPLE_KEY)
        self.sample = sample.encode() if sample else None
        self.size_bytes = 0
        if not self.inputs or not self.outputs:
            raise LoadError("LoadFailed", "The graph has no tensor input or no tensor output.")

    def predict(self, tensors: Mapping[str, AnyArray], outputs: Sequence[str]) -> dict[str, AnyArray]:
        try:
            results = self._session.run(outputs, tensors)
        except MemoryError as error:
            raise _too_large() from error
        except _ERRORS as error:
            if _NO_MEMORY.search(str(error)):
                raise _too_large() from error
            raise Problem(
                422, f"The model refused the input: {_words(error)}", reason="InputRefused"
            ) from error
        if sum(result.nbytes for result in results) > _MOST_BYTES:
            raise Problem(
                422, f"The answer is larger than {_MOST_BYTES >> 20} MiB; send fewer rows.", reason="TooLarge"
            )
        return dict(zip(outputs, results, strict=True))

    def close(self) -> None:
        self._session = None
        METER.freed(self.size_bytes)


def load(path: Path) -> OnnxModel:
    """Open a file. Raises LoadError, and OSError when it cannot be read."""
    return _measured(path.stat().st_size, path.read_bytes)


def load_bytes(data: bytes) -> OnnxModel:
    """Open a serialised graph. Raises LoadError when it is corrupt, or refers to files beside it."""
    return _measured(len(data), lambda: data)


def _measured(file_bytes: int, read: Callable[[], bytes]) -> OnnxModel:
    _start_engine()
    with METER.measure(file_bytes) as size:
        model = _open(read())
    model.size_bytes = size()
    return model


def _open(data: bytes) -> OnnxModel:
    check_graph(data)
    session = _session(data)
    session._model_bytes = None  # kept for a change of providers: a whole file a model, for nothing
    try:
        return OnnxModel(session)
    except UnicodeDecodeError as error:
        raise LoadError("LoadFailed", "A name or the metadata of the file is not UTF-8.") from error


@functools.cache
def _start_engine() -> None:
    """What the first session of a process sets up for all (1.3 MB) is not the first model's size."""
    return_freed_memory()
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "start", [value], [])
    graph.output.add().CopyFrom(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1]))
    opset = onnx.helper.make_opsetid("", 13)
    _session(onnx.helper.make_model(graph, ir_version=8, opset_imports=[opset]).SerializeToString())


def _session(data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # An arena a session would keep the memory of its largest request for ever.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    options.add_session_config_entry(
        "optimization.constant_folding_max_output_size_in_bytes", str(_FOLDED_BYTES)
    )
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except MemoryError as error:
        raise _no_room() from error
    except _ERRORS as error:
        if _NO_MEMORY.search(str(error)):
            raise _no_room() from error
        raise LoadError("LoadFailed", f"This is no ONNX file that can be run: {_words(error)}") from error


def _tensor(node: Any) -> Tensor:
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        raise LoadError("LoadFailed", f"Input {node.name!r} is a {node.type}; only tensors can be sent.")
    return Tensor(node.name, datatype, tuple(d if isinstance(d, int) and d > 0 else -1 for d in node.shape))


def _columns(metadata: Mapping[str, str], inputs: Sequence[Tensor]) -> tuple[str, ...]:
    """The names stored in the file, checked against the inputs that they name."""
    text = metadata.get(COLUMNS_KEY)
    if text is None:
        return ()
    try:
        names = json.loads(text)
    except ValueError as error:
        raise LoadError("LoadFailed", f"The metadata {COLUMNS_KEY} is no JSON.") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LoadError("LoadFailed", f"The metadata {COLUMNS_KEY} is no list of names.")
    if len(set(names)) != len(names):
        raise LoadError("LoadFailed", f"The metadata {COLUMNS_KEY} names a column twice.")
    expected = len(inputs) if len(inputs) > 1 else inputs[0].shape[-1] if inputs[0].shape else 1
    if expected not in (-1, len(names)):
        raise LoadError("LoadFailed", f"The metadata {COLUMNS_KEY} names {len(names)} columns of {expected}.")
    return tuple(names)


def _too_large() -> Problem:
    return Problem(
        422,
        "The model needs more memory for this request than the predictor has; send fewer rows.",
        reason="TooLarge",
    )


def _no_room() -> LoadError:
    return LoadError("LoadFailed", "Opening the file takes more memory than the predictor has.")


def _words(error: Exception) -> str:
    words = _SOURCE.sub("", _ERROR_PREFIX.sub("", str(error)).strip().split("\n")[0])
    return words if words.endswith(".") else f"{words}."
