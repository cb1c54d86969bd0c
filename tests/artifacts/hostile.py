"""ONNX files of a kilobyte or two that ask for gigabytes, hours, or the end of the process."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

_OPSET = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("own", 1)]


def constant_of_shape(count: int) -> bytes:
    """A constant of so many floats, made at each prediction."""
    value = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    nodes = [helper.make_node("ConstantOfShape", ["count"], ["big"], value=value), *_added("big")]
    return _model(nodes, [_constant("count", [count], np.int64)])


def folded(count: int, branches: int) -> bytes:
    """So many constants of so many floats, computed when the file is opened."""
    names = [f"part{number}" for number in range(branches)]
    nodes = [helper.make_node("Expand", ["one", "count"], [name]) for name in names]
    nodes += [helper.make_node("Sum", names, ["big"]), *_added("big")]
    return _model(nodes, [_constant("count", [count], np.int64), _constant("one", [1], np.float32)])


def outer_product(width: int) -> bytes:
    """An answer of width x width floats."""
    weights = [_constant("row", [[1] * width], np.float32)]
    nodes = [
        helper.make_node("MatMul", ["input", "row"], ["wide"]),
        helper.make_node("Transpose", ["wide"], ["tall"]),
        helper.make_node("MatMul", ["tall", "wide"], ["variable"]),
    ]
    return _model(nodes, weights)


def declared(dimensions: Sequence[int], data: bytes = b"\0" * 64) -> bytes:
    """Weights that claim to be larger than what is there."""
    weights = TensorProto(name="big", data_type=TensorProto.FLOAT, dims=dimensions, raw_data=data)
    return _model(_added("big"), [weights])


def chain(length: int) -> bytes:
    """One node after the other."""
    names = ["input", *(f"n{number}" for number in range(length - 1)), "variable"]
    return _model([helper.make_node("Neg", [a], [b]) for a, b in itertools.pairwise(names)])


def functions(levels: int) -> bytes:
    """Functions that each call the one below twice: 2 ** levels nodes when written out."""
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    made = []
    for level in range(levels):
        below = ("Neg", "") if level == 0 else (f"F{level - 1}", "own")
        nodes = [
            helper.make_node(below[0], ["a"], ["b"], domain=below[1]),
            helper.make_node(below[0], ["b"], ["c"], domain=below[1]),
        ]
        made.append(helper.make_function("own", f"F{level}", ["a"], ["c"], nodes, opset))
    return _model([helper.make_node(f"F{levels - 1}", ["input"], ["variable"], domain="own")], functions=made)


def deep_tree(depth: int, *, first_id: int = 0, step: int = 1) -> bytes:
    """A decision tree that is a chain of splits: the even nodes split, the odd ones are leaves.

    `first_id` is the root's, and each node's is `step` more than that of the one before.
    """
    count = 2 * depth + 1
    ids = [first_id + step * number for number in range(count)]
    inner = [number % 2 == 0 and number < count - 1 for number in range(count)]
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["input"],
        ["variable"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0] * count,
        nodes_nodeids=ids,
        nodes_featureids=[0] * count,
        nodes_modes=["BRANCH_LT" if split else "LEAF" for split in inner],
        nodes_values=[0.5] * count,
        nodes_truenodeids=[ids[number + 1] if split else 0 for number, split in enumerate(inner)],
        nodes_falsenodeids=[ids[number + 2] if split else 0 for number, split in enumerate(inner)],
        nodes_hitrates=[1.0] * count,
        nodes_missing_value_tracks_true=[0] * count,
        target_treeids=[0],
        target_nodeids=[ids[-1]],
        target_ids=[0],
        target_weights=[1.0],
    )
    return _model([node])


def _added(name: str) -> list[Any]:
    return [
        helper.make_node("ReduceMax", [name], ["most"], keepdims=0),
        helper.make_node("Add", ["input", "most"], ["variable"]),
    ]


def _constant(name: str, values: Any, dtype: Any) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def _model(nodes: list[Any], weights: Sequence[TensorProto] = (), functions: Sequence[Any] = ()) -> bytes:
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("variable", TensorProto.FLOAT, None)],
        list(weights),
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=_OPSET, functions=list(functions))
    data: bytes = model.SerializeToString()
    return data
