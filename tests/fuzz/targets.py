"""What reads bytes of strangers: each takes any bytes, and refuses in words or gives what can be used.

A target raises for what must not be. `python -m fuzz` tries it for as long as one likes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

from tenantry_core.oip import json_codec, protobuf_codec, raw
from tenantry_core.oip.messages import Answerer, InferRequest
from tenantry_core.oip.tensors import read_inputs, select_outputs
from tenantry_core.problems import Problem
from tenantry_core.slices import SliceContent
from tenantry_core.snapshot import ADDRESSES, SLICES, SnapshotError, SnapshotFolder
from tenantry_core.values import DATATYPES, ValueMismatch
from tenantry_core.wire import Tensor
from tenantry_predictor.errors import LoadError
from tenantry_predictor.runtimes import onnx
from tenantry_predictor.tables import TableReader, encode_predictions
from tenantry_router.table import Table

Target = Callable[[bytes], None]

CORPUS = Path(__file__).with_name("corpus")
"""A folder of small seeds a target."""

_ANSWERER = Answerer("acme", "0" * 64)
_TENSORS = (
    Tensor("a", "FP32", (-1, 2)),
    Tensor("b", "BYTES", (-1, 1)),
    Tensor("c", "BOOL", (-1,)),
    Tensor("d", "FP16", (-1, -1)),
    Tensor("e", "UINT64", (2, 2)),
)
_READERS = (
    TableReader((Tensor("x", "FP32", (-1, 2)),), ("a", "b")),
    TableReader((Tensor("x", "FP64", (-1, -1)),), ()),
    TableReader((Tensor("n", "INT64", (-1, 1)), Tensor("s", "BYTES", (-1, 1))), ()),
)


def tables(data: bytes) -> None:
    """The body of `/predict`."""
    for reader in _READERS:
        try:
            arrays = reader.read(data)
        except Problem as problem:
            _check_problem(problem)
            continue
        assert len({len(array) for array in arrays.values()}) == 1
        for array in arrays.values():
            json.loads(encode_predictions(array))


def json_inference(data: bytes) -> None:
    """The body of an inference request: JSON, of a length that the first two bytes tell, then tensors."""
    length = int.from_bytes(data[:2], "little") or None
    body = data[2:]
    try:
        _infer(json_codec.decode(body, None if length is None else min(length, len(body))), json_codec.encode)
    except Problem as problem:
        _check_problem(problem)


def protobuf_inference(data: bytes) -> None:
    """A ModelInferRequest."""
    try:
        _infer(protobuf_codec.decode(data), protobuf_codec.encode)
    except Problem as problem:
        _check_problem(problem)


def raw_tensors(data: bytes) -> None:
    """A tensor's bytes, of the datatype and number of elements that the first three bytes tell."""
    datatype = sorted(DATATYPES)[data[0] % len(DATATYPES)] if data else "BOOL"
    count = int.from_bytes(data[1:3], "little")
    try:
        array = raw.to_array(memoryview(data)[3:], datatype, count)
    except (raw.SizeMismatch, ValueMismatch):
        return
    assert array.shape == (count,)
    assert raw.to_bytes(array, datatype) == data[3:]


def slice_files(data: bytes) -> None:
    """A file of the folder that routers read, as a slice and as the book of addresses."""
    folder = _folder()
    for path in (folder.path / SLICES / "placement-0-0.json", folder.path / ADDRESSES):
        path.write_bytes(data)
    with suppress(SnapshotError):
        folder.read_addresses()
    table = Table()
    try:
        content = folder.read_slice("placement-0-0")
        assert content is not None
        table.set_slice("placement-0-0", content)
    except (SnapshotError, ValueError):  # as the router's follower does: the last good content stays
        return
    assert msgspec.json.decode(msgspec.json.encode(content), type=SliceContent) == content
    table.remove_slice("placement-0-0")
    assert not table.models


def onnx_files(data: bytes) -> None:
    """An artifact, and what the runtime makes of it."""
    with suppress(LoadError):
        onnx.load_bytes(data).close()


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (tables, json_inference, protobuf_inference, raw_tensors, slice_files, onnx_files)
}


def seeds(name: str) -> Iterable[bytes]:
    for path in sorted((CORPUS / name).iterdir()):
        yield path.read_bytes()


def _infer(request: InferRequest, encode: Callable[..., object]) -> None:
    outputs = select_outputs(request, _TENSORS)
    given = {tensor.name for tensor in request.inputs}
    arrays = read_inputs(request.inputs, [tensor for tensor in _TENSORS if tensor.name in given])
    asked = [output for output in outputs if output.tensor.name in arrays]
    encode(_ANSWERER, request.id, asked, arrays)


def _check_problem(problem: Problem) -> None:
    assert problem.status in (400, 422), problem.error
    assert json.loads(problem.body())["error"]


@cache
def _folder() -> SnapshotFolder:
    path = Path(tempfile.mkdtemp(prefix="tenantry-fuzz-"))
    (path / SLICES).mkdir()
    return SnapshotFolder(path)
