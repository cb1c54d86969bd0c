"""What a skops file may hold, decided by the platform and never by the file.

skops itself trusts scikit-learn's public estimators, containers, numbers and numpy's functions. Beside these
stand the types below, which fitted estimators hold and which run no code when they are built. Some carry
indices that compiled code follows unchecked, so `check_content` looks at them, and whatever it overlooks
can only crash the process that serves this one model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tenantry_predictor.runtimes.readers import BadArtifact
from tenantry_predictor.runtimes.trees import trees_of

TRUSTED = (
    "functools.partial",
    "numpy.dtype",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    *(
        f"sklearn.gaussian_process.kernels.{kernel}"
        for kernel in (
            "ConstantKernel",
            "DotProduct",
            "ExpSineSquared",
            "Exponentiation",
            "Matern",
            "Product",
            "RBF",
            "RationalQuadratic",
            "Sum",
            "WhiteKernel",
        )
    ),
    "sklearn.impute._iterative.IterativeImputer",
    "sklearn.impute._iterative._ImputerTriplet",
    *(
        f"sklearn.metrics._dist_metrics.{metric}Distance64"
        for metric in ("Chebyshev", "Euclidean", "Manhattan", "Minkowski", "SEuclidean")
    ),
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
)


class UntrustedType(Exception):
    """The file, or the estimator, holds something that is not on the list; the message names it."""


class HostileContent(BadArtifact):
    """Every type is on the list, but what the objects say would read files or foreign memory."""


def check_content(model: Any) -> None:
    """Refuse trees that point outside of themselves, and vectorisers that read files.

    Raises HostileContent.
    """
    for part in _objects(model):
        if getattr(part, "input", "content") in ("file", "filename"):
            raise HostileContent(f"{type(part).__name__} would read files: fit it with input='content'")
        if hasattr(part, "tree_"):
            _check_tree(part.tree_, part.n_features_in_)
        elif hasattr(part, "estimators_") and not hasattr(part, "estimators_features_"):
            for tree in trees_of(part):
                _check_tree(tree, part.n_features_in_)
        if type(part).__name__ == "TreePredictor":
            _check_predictor(part)
        if hasattr(part, "_predictors"):
            _check_features(
                [int(p.nodes["feature_idx"].max()) for row in part._predictors for p in row],
                part.n_features_in_,
            )


def _check_tree(tree: Any, features: int) -> None:
    if tree.node_count > tree.capacity:
        raise HostileContent("a decision tree claims more nodes than it has")
    inner = np.flatnonzero(tree.children_left != -1)
    # scikit-learn numbers a node before its children, so going down always ends.
    for children in (tree.children_left[inner], tree.children_right[inner]):
        if np.any(children <= inner) or np.any(children >= tree.node_count):
            raise HostileContent("a decision tree points outside of itself")
    _check_features(tree.feature[inner].tolist(), features)
    if inner.size and int(tree.feature[inner].min()) < 0:
        raise HostileContent("a decision tree splits on a feature that is not there")


def _check_predictor(predictor: Any) -> None:
    nodes = predictor.nodes
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    for side in ("left", "right"):
        children = nodes[side][inner].astype(np.int64)
        if np.any(children <= inner) or np.any(children >= len(nodes)):
            raise HostileContent("a tree of the boosted ensemble points outside of itself")
    categories = nodes[inner][nodes["is_categorical"][inner] != 0]
    if np.any(categories["bitset_idx"] >= len(predictor.raw_left_cat_bitsets)):
        raise HostileContent("a tree of the boosted ensemble points outside of its categories")


def _check_features(used: list[int], features: int) -> None:
    if max(used, default=0) >= features:
        raise HostileContent("a decision tree splits on a feature that is not there")


def _objects(root: Any) -> Iterator[Any]:
    """Everything that hangs together with the estimator, once each."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | type | None):
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list | tuple | set):
            waiting.extend(part)
        elif isinstance(part, np.ndarray):
            if part.dtype == object:
                waiting.extend(part.ravel().tolist())
        else:
            yield part
            waiting.extend(getattr(part, "__dict__", {}).values())
