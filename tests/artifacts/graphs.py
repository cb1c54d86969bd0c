"""Small ONNX files, made by hand so that a test knows every weight."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def linear(
    weights: Sequence[float] = (1.0, 2.0),
    bias: float = 0.0,
    *,
    columns: Sequence[str] | None = None,
    sample: Any = None,
    padding: int = 0,
) -> bytes:
    """`input` [N,k] -> `variable` [N,1]: the weighted sum. `padding` adds so many bytes of unused weights."""
    width = len(weights)
    initializers = [
        numpy_helper.from_array(np.array(weights, np.float32).reshape(width, 1), "weights"),
        numpy_helper.from_array(np.array([bias], np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("MatMul", ["input", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["variable"]),
    ]
    if padding:
        # Looked up by a value of the input, or the runtime would compute it once and drop the weights.
        ballast = np.random.default_rng(0).random(padding // 4, dtype=np.float32)
        initializers.append(numpy_helper.from_array(ballast, "ballast"))
        initializers.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
        nodes = [
            nodes[0],
            helper.make_node("Add", ["product", "bias"], ["sum"]),
            helper.make_node("ReduceMin", ["input"], ["least"], keepdims=0),
            helper.make_node("Mul", ["least", "nothing"], ["zero"]),
            helper.make_node("Cast", ["zero"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["ballast", "index"], ["weight"]),
            helper.make_node("Sub", ["weight", "weight"], ["nil"]),
            helper.make_node("Add", ["sum", "nil"], ["variable"]),
        ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("variable", TensorProto.FLOAT, ["N", 1])],
        initializers,
    )
    return _serialise(graph, columns, sample)


def mixed() -> bytes:
    """One input a column: `age` (FP32), `visits` (INT64), `city` (BYTES), each [N,1]; two outputs.

    `known` [N,1] (BOOL) is city == "Oslo"; `total` [N,1] is age + visits.
    """
    inputs = [
        helper.make_tensor_value_info("age", TensorProto.FLOAT, ["N", 1]),
        helper.make_tensor_value_info("visits", TensorProto.INT64, ["N", 1]),
        helper.make_tensor_value_info("city", TensorProto.STRING, ["N", 1]),
    ]
    outputs = [
        helper.make_tensor_value_info("total", TensorProto.FLOAT, ["N", 1]),
        helper.make_tensor_value_info("known", TensorProto.INT64, ["N", 1]),
    ]
    nodes = [
        helper.make_node("Cast", ["visits"], ["visits_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["age", "visits_float"], ["total"]),
        helper.make_node(
            "LabelEncoder",
            ["city"],
            ["known"],
            domain="ai.onnx.ml",
            keys_strings=["Oslo"],
            values_int64s=[1],
            default_int64=0,
        ),
    ]
    graph = helper.make_graph(nodes, "mixed", inputs, outputs)
    return _serialise(graph, ("age", "visits", "city"), [{"age": 1.5, "visits": 2, "city": "Oslo"}])


def matrices() -> bytes:
    """Two inputs that are no columns: `a` [2,3] and `b` [3,2]; `product` [2,2]."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["product"])],
        "matrices",
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [2, 3]),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, [3, 2]),
        ],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, [2, 2])],
    )
    return _serialise(graph)


def logarithm() -> bytes:
    """`input` [N,1] -> `variable` [N,1]: its logarithm, so that zero gives minus infinity."""
    graph = helper.make_graph(
        [helper.make_node("Log", ["input"], ["variable"])],
        "logarithm",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("variable", TensorProto.FLOAT, ["N", 1])],
    )
    return _serialise(graph, ("x",))


def slow(rounds: int) -> bytes:
    """As `linear` with the weight 1, after `rounds` products of 300 x 300 matrices."""
    matrix = numpy_helper.from_array(np.eye(300, dtype=np.float32), "matrix")
    nodes = [
        helper.make_node("ReduceSum", ["input"], ["scalar"], keepdims=0),
        helper.make_node("Mul", ["matrix", "scalar"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{i}", "matrix"], [f"m{i + 1}"]) for i in range(rounds)),
        helper.make_node("ReduceMax", [f"m{rounds}"], ["top"], keepdims=0),
        helper.make_node("Sub", ["top", "top"], ["zero"]),
        helper.make_node("Add", ["input", "zero"], ["variable"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("variable", TensorProto.FLOAT, ["N", 1])],
        [matrix],
    )
    return _serialise(graph)


def external() -> bytes:
    """A graph whose weights are in another file of this host."""
    model = onnx.load_from_string(linear())
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"
    data: bytes = model.SerializeToString()
    return data


def _serialise(graph: Any, columns: Sequence[str] | None = None, sample: Any = None) -> bytes:
    model = helper.make_model(graph, ir_version=8, opset_imports=_OPSET)
    metadata = {}
    if columns is not None:
        metadata["tenantry.columns"] = json.dumps(list(columns))
    if sample is not None:
        metadata["tenantry.sample"] = json.dumps(sample)
    helper.set_model_props(model, metadata)
    data: bytes = model.SerializeToString()
    return data
