"""What XGBoost's and LightGBM's models have in common: trees whose scores become scikit-learn's answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxmltools.convert.common.data_types import FloatTensorType

from tenantry_predictor.runtimes.conversion import CONVERTER_ERRORS, NotConvertible, shortened
from tenantry_predictor.runtimes.readers import BadArtifact
from tenantry_predictor.runtimes.trees import PlainTree

Array = npt.NDArray[Any]
Scores = Callable[[Any], Array]
"""Rows as a frame or an array -> what the library's booster predicts for them."""

OPSET = 15
"""The latest one for which the converters write version 3 of the tree operators."""


class Boosted:
    """A regressor or a ranker."""

    def __init__(self, booster: Any, scores: Scores, trees: Sequence[PlainTree], *, graphs: bool) -> None:
        """`graphs`: whether a graph can have a chance to agree."""
        self.booster = booster
        self.scores = scores
        self.trees = trees
        self.graphs = graphs

    def predict(self, given: Any) -> Array:
        return self.scores(given)


class BoostedClassifier(Boosted):
    """Of two classes, whose scores are the probability of the second, or of several."""

    def __init__(
        self, booster: Any, scores: Scores, trees: Sequence[PlainTree], classes: Array, *, graphs: bool
    ) -> None:
        super().__init__(booster, scores, trees, graphs=graphs)
        self.classes_ = classes

    def predict_proba(self, given: Any) -> Array:
        scores = self.scores(given)
        return np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores

    def predict(self, given: Any) -> Array:
        labels: Array = self.classes_[np.argmax(self.predict_proba(given), axis=1)]
        return labels


def check_trees(trees: Sequence[PlainTree], features: int) -> None:
    """Refuse trees that point outside of themselves or of a row: compiled code follows them unchecked.

    Raises BadArtifact.
    """
    for tree in trees:
        children = np.concatenate([tree.children_left, tree.children_right])
        if np.any(children < -1) or np.any(children >= tree.node_count):
            raise BadArtifact("a tree points outside of itself")
        used = tree.feature[tree.children_left >= 0]
        if np.any(used < 0) or np.any(used >= features):
            raise BadArtifact("a tree splits on a feature that is not there")


def graph_by(convert: Callable[..., onnx.ModelProto], booster: Any, features: int, **options: Any) -> Any:
    """The graph that a converter of onnxmltools makes. Raises NotConvertible."""
    inputs = [("given_0", FloatTensorType([None, features]))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return convert(booster, name="tenantry", initial_types=inputs, target_opset=OPSET, **options)
    except CONVERTER_ERRORS as error:
        raise NotConvertible(f"the model does not convert: {shortened(error)}") from error


def tree_node(graph: onnx.ModelProto) -> onnx.NodeProto:
    """The one node that holds the trees. Raises NotConvertible."""
    nodes: list[onnx.NodeProto] = [
        node for node in graph.graph.node if node.op_type.startswith("TreeEnsemble")
    ]
    if len(nodes) != 1:
        raise NotConvertible(f"the graph has {len(nodes)} ensembles of trees")
    return nodes[0]


def code_categories(values: Array, categories: Sequence[Any]) -> Array:
    """Each value's position among the categories as a float; NaN for one that is missing or not there."""
    codes = {category: float(position) for position, category in enumerate(categories)}
    return np.array([codes.get(value, np.nan) for value in values.tolist()], dtype=np.float64)
