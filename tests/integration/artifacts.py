"""Small ONNX artifacts whose answers tell which of them answered."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear(slope: float, offset: float, *, sample: object = ((1.0,),), padding: int = 0) -> bytes:
    """`slope * x + offset` for rows of one number. `padding` bytes of weights make it larger in memory.

    `sample` is the probe's row; None stores none.
    """
    constants = [
        numpy_helper.from_array(np.array([[slope]], dtype=np.float32), "slope"),
        numpy_helper.from_array(np.array([offset], dtype=np.float32), "offset"),
        numpy_helper.from_array(np.zeros(padding // 4 + 1, dtype=np.float32), "padding"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["moved"]),
        helper.make_node("ReduceSum", ["padding"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["moved", "nothing"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if sample is not None:
        helper.set_model_props(model, {"tenantry.sample": json.dumps(sample)})
    content: bytes = model.SerializeToString()
    onnx.checker.check_model(model)
    return content


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
