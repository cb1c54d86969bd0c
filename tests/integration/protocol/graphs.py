"""Graphs that show what went in: one that gives back every datatype, one of several inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

_OPSETS = [helper.make_opsetid("", 17)]

KINDS: Mapping[str, int] = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def echo() -> bytes:
    """`in_FP32` [N,2] -> `out_FP32` [N,2], and so for each datatype."""
    names = list(KINDS)
    return _graph(
        [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in names],
        [helper.make_tensor_value_info(f"in_{name}", KINDS[name], ["N", 2]) for name in names],
        [helper.make_tensor_value_info(f"out_{name}", KINDS[name], ["N", 2]) for name in names],
    )


def arithmetic() -> bytes:
    """`a` [N,1] and `b` [N,1] -> `both` [N,2], them side by side, and `sum` [N,1]."""
    return _graph(
        [
            helper.make_node("Concat", ["a", "b"], ["both"], axis=1),
            helper.make_node("ReduceSum", ["both", "axis"], ["sum"], keepdims=1),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("a", "b")],
        [
            helper.make_tensor_value_info("both", TensorProto.FLOAT, ["N", 2]),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["N", 1]),
        ],
        [helper.make_tensor("axis", TensorProto.INT64, [1], [1])],
    )


def _graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: Sequence[Any] = ()) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    data: bytes = helper.make_model(graph, ir_version=8, opset_imports=_OPSETS).SerializeToString()
    onnx.checker.check_model(data)
    return data
