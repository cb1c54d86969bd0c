"""ONNX files, run by ONNX Runtime with one thread a session."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from tenantry_core.problems import Problem
from tenantry_core.wire import Tensor
from tenantry_predictor.runtimes import numpy_model, onnx_metadata
from tenantry_predictor.runtimes.base import AnyArray, LoadedModel, LoadError
from tenantry_predictor.runtimes.limits import check_size, no_memory
from tenantry_predictor.runtimes.memory import METER, return_freed_memory
from tenantry_predictor.runtimes.onnx_checks import ORT_MARK, checked

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
_WASTEFUL = 2
"""Times the file: a session keeps that and more, of trees three to five times; one of .ort does not."""
_ORT_SHARE = 4
"""A .ort file is larger than what it becomes."""
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
        self.columns = onnx_metadata.columns(metadata, self.inputs)
        self.sample = onnx_metadata.sample(metadata)
        self.size_bytes = 0
        if not self.inputs or not self.outputs:
            raise LoadError("LoadFailed", "The graph has no tensor input or no tensor output.")

    def predict(self, tensors: Mapping[str, AnyArray], outputs: Sequence[str]) -> dict[str, AnyArray]:
        try:
            results = self._session.run(outputs, tensors)
        except MemoryError as error:
            raise no_memory() from error
        except _ERRORS as error:
            if _NO_MEMORY.search(str(error)):
                raise no_memory() from error
            raise Problem(
                422, f"The model refused the input: {_words(error)}", reason="InputRefused"
            ) from error
        check_size(results)
        return dict(zip(outputs, results, strict=True))

    def close(self) -> None:
        self._session = None
        METER.freed(self.size_bytes)

    def prepare(self, content: bytes) -> bytes:
        with METER.measure(len(content)):
            smaller = _ort_format(content)
        with METER.measure(len(smaller) // _ORT_SHARE) as size:
            session = _session(smaller, "ORT")
        self._session = session  # a prediction under way has the other one until it ends
        METER.freed(self.size_bytes)
        self.size_bytes, self.wasteful = size(), False
        return smaller


def load(path: Path) -> LoadedModel:
    """Open a file. Raises LoadError, and OSError when it cannot be read."""
    return _opened(path.stat().st_size, path.read_bytes)


def load_bytes(data: bytes) -> LoadedModel:
    """Open a serialised graph. Raises LoadError when it is corrupt, or refers to files beside it."""
    return _opened(len(data), lambda: data)


def load_prepared(content: bytes) -> LoadedModel:
    """Open what a model of ours was `prepared` as: never a file from elsewhere. Raises LoadError."""
    if content[4:8] != ORT_MARK:
        return load_bytes(content)
    _start_engine()
    with METER.measure(len(content) // _ORT_SHARE) as size:
        model = _open(content, "ORT")
    model.size_bytes = size()
    return model


def _opened(file_bytes: int, read: Callable[[], bytes]) -> LoadedModel:
    if file_bytes > numpy_model.MOST_FILE_BYTES:
        return _measured(file_bytes, lambda: _sound(read()))
    # Not measured: to read the heap takes as long as all else, and what parsing takes for a moment is little.
    data = read()
    return numpy_model.read(checked(data)) or _measured(file_bytes, lambda: data)


def _sound(data: bytes) -> bytes:
    checked(data)
    return data


def _measured(file_bytes: int, read: Callable[[], bytes]) -> OnnxModel:
    _start_engine()
    with METER.measure(file_bytes) as size:
        model = _open(read())
    model.size_bytes = size()
    model.wasteful = model.size_bytes > _WASTEFUL * file_bytes
    return model


def _open(data: bytes, model_format: str = "ONNX") -> OnnxModel:
    try:
        return OnnxModel(_session(data, model_format))
    except UnicodeDecodeError as error:
        raise onnx_metadata.not_utf8() from error


@functools.cache
def _start_engine() -> None:
    """What the first session of a process sets up for all (1.3 MB) is not the first model's size."""
    return_freed_memory()
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "start", [value], [])
    graph.output.add().CopyFrom(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1]))
    opset = onnx.helper.make_opsetid("", 13)
    _session(onnx.helper.make_model(graph, ir_version=8, opset_imports=[opset]).SerializeToString())


def _ort_format(graph: bytes) -> bytes:
    """ONNX Runtime's own format, which it can only write into a file: one in memory."""
    descriptor = os.memfd_create("tenantry-ort", os.MFD_CLOEXEC)
    try:
        _session(graph, write_to=f"/proc/self/fd/{descriptor}")
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def _session(data: bytes, model_format: str = "ONNX", write_to: str = "") -> Any:
    """A session; optimised, in ONNX Runtime's format, it is also written to a file. Raises LoadError."""
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
    options.add_session_config_entry("session.load_model_format", model_format)
    if write_to:
        options.optimized_model_filepath = write_to
        options.add_session_config_entry("session.save_model_format", "ORT")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except MemoryError as error:
        raise _no_room() from error
    except _ERRORS as error:
        if _NO_MEMORY.search(str(error)):
            raise _no_room() from error
        raise LoadError("LoadFailed", f"This is no ONNX file that can be run: {_words(error)}") from error
    session._model_bytes = None  # kept for a change of providers: a whole file a model, for nothing
    return session


def _tensor(node: Any) -> Tensor:
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        raise LoadError("LoadFailed", f"Input {node.name!r} is a {node.type}; only tensors can be sent.")
    return Tensor(node.name, datatype, tuple(d if isinstance(d, int) and d > 0 else -1 for d in node.shape))


def _no_room() -> LoadError:
    return LoadError("LoadFailed", "Opening the file takes more memory than the predictor has.")


def _words(error: Exception) -> str:
    words = _SOURCE.sub("", _ERROR_PREFIX.sub("", str(error)).strip().split("\n")[0])
    return words if words.endswith(".") else f"{words}."
