"""Small models: computed by numpy as a predictor does, beside an ONNX Runtime session of the same file.

    python benchmarks/small_models.py [--models 2000] [--out small_models.json]

Models of each kind differ in one weight. Each way opens all of them in a process of its own: what the process
grows by, a model, how long a file takes to open, and how long a row takes. Times alternate between the two in
rounds and are the shortest of many, since they are microseconds; answers are compared first.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import timeit
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tenantry_predictor.runtimes import onnx as onnx_files
from tenantry_predictor.runtimes.columns import columns_of
from tenantry_predictor.runtimes.conversion import convert

_rng = np.random.default_rng(1)
NUMBERS = pd.DataFrame(_rng.normal(size=(200, 4)), columns=["amount", "hour", "weekday", "returning"])
TABLE = NUMBERS.assign(city=_rng.choice(["Oslo", "Bergen", "Tromso"], 200))
TARGET = NUMBERS["amount"] * 2 + NUMBERS["hour"]
ENCODED = ColumnTransformer(
    [("city", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder=StandardScaler()
)
KINDS: dict[str, tuple[Any, pd.DataFrame, Any]] = {
    "scaler, linear": (make_pipeline(StandardScaler(), Ridge()), NUMBERS, TARGET),
    "scaler, logistic": (make_pipeline(StandardScaler(), LogisticRegression()), NUMBERS, TARGET > 0),
    "categories, linear": (make_pipeline(ENCODED, Ridge()), TABLE, TARGET),
    "network of 16": (MLPRegressor(hidden_layer_sizes=(16,), max_iter=5), NUMBERS, TARGET),
}
ROUNDS = 40


def main() -> None:
    """Measure each kind, print a table."""
    arguments = _arguments()
    if arguments.grow:
        print(_growth(arguments.kind, arguments.models, arguments.grow))
        return
    figures = [_measure(kind, arguments.models) for kind in KINDS]
    print(f"{'':20}{'bytes a model':>22}{'open, us':>18}{'one row, us':>16}")
    print(
        f"{'':20}{'numpy':>11}{'session':>11}" + f"{'numpy':>9}{'session':>9}" + f"{'numpy':>7}{'session':>9}"
    )
    for one in figures:
        print(
            f"{one['kind']:20}{one['bytes'][0]:11,}{one['bytes'][1]:11,}{one['open'][0]:9.0f}{one['open'][1]:9.0f}"
            f"{one['row'][0]:7.1f}{one['row'][1]:9.1f}"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2))


def _published(kind: str) -> onnx.ModelProto:
    model, table, target = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # networks do not converge in five rounds
        model.fit(table, target)
    return onnx.load_from_string(convert(model, columns_of(model, table), sample=table))


def _changed(graph: onnx.ModelProto, number: int) -> bytes:
    """Another model of the kind: one weight is the number."""
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name == "intercepts":
                attribute.floats[0] = number
                return bytes(graph.SerializeToString())
    tensor = graph.graph.initializer[0]
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] = number
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return bytes(graph.SerializeToString())


def _session(data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    session._model_bytes = None
    return session


WAYS: dict[str, Callable[[bytes], Any]] = {"numpy": onnx_files.load_bytes, "session": _session}


def _growth(kind: str, count: int, way: str) -> int:
    """Bytes a model of what this process grows by."""
    graph = _published(kind)
    kept = [WAYS[way](_changed(graph, number)) for number in range(100)]
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what training left behind would take the models in
    before = _resident_bytes()
    kept += [WAYS[way](_changed(graph, 100 + number)) for number in range(count)]
    return (_resident_bytes() - before) // count


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _measure(kind: str, count: int) -> dict[str, Any]:
    data = _changed(_published(kind), 1)
    model, session = onnx_files.load_bytes(data), _session(data)
    row = {
        one.name: TABLE[[one.name]].iloc[:1].to_numpy(object if one.datatype == "BYTES" else np.float32)
        if len(model.inputs) > 1
        else NUMBERS.iloc[:1].to_numpy(np.float32)
        for one in model.inputs
    }
    output = model.outputs[0].name
    np.testing.assert_allclose(model.predict(row, [output])[output], session.run([output], row)[0], rtol=1e-5)
    predict = _alternating([lambda: model.predict(row, [output]), lambda: session.run([output], row)], 200)
    opening = _alternating([lambda: WAYS["numpy"](data), lambda: WAYS["session"](data)], 5)
    command = [sys.executable, __file__, "--kind", kind, "--models", str(count), "--grow"]
    growth = [int(subprocess.check_output([*command, way])) for way in WAYS]
    return {"kind": kind, "bytes": growth, "open": opening, "row": predict}


def _alternating(calls: list[Callable[[], Any]], number: int) -> list[float]:
    """Microseconds of each."""
    rounds = [[timeit.timeit(call, number=number) for call in calls] for _ in range(ROUNDS)]
    return [round(min(times) / number * 1e6, 2) for times in zip(*rounds, strict=True)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--kind", choices=KINDS, default="scaler, linear", help=argparse.SUPPRESS)
    parser.add_argument("--grow", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
