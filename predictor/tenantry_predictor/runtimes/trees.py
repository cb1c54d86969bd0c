"""The decision trees inside estimators, read for conversion and for probe rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class PlainTree(NamedTuple):
    """A tree of another library in the arrays of scikit-learn's `Tree`, an element a node, the root first."""

    children_left: npt.NDArray[np.int64]
    """-1 for leaves."""
    children_right: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float64]

    @property
    def node_count(self) -> int:
        return len(self.feature)


def trees_of(estimator: Any) -> Iterator[Any]:
    """Every `Tree` of a decision tree, a forest or a boosted ensemble, in the ensemble's order.

    Estimators of other libraries list theirs as `trees`, and histogram boosting keeps its own kind: these
    come as PlainTrees.
    """
    if hasattr(estimator, "trees"):
        yield from estimator.trees
    elif hasattr(estimator, "_predictors"):
        for iteration in estimator._predictors:
            yield from (_plain(predictor.nodes) for predictor in iteration)
    elif hasattr(estimator, "tree_"):
        yield estimator.tree_
    elif hasattr(estimator, "estimators_"):
        for member in np.ravel(np.asarray(estimator.estimators_, dtype=object)):
            if hasattr(member, "tree_"):
                yield member.tree_


def _plain(nodes: npt.NDArray[Any]) -> PlainTree:
    """The nodes of a histogram-based tree."""
    left, right = (np.where(nodes["is_leaf"], -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    return PlainTree(left, right, nodes["feature_idx"].astype(np.int64), nodes["num_threshold"])


def holds_trees(estimator: Any) -> bool:
    return next(trees_of(estimator), None) is not None


def missing_goes_left(estimator: Any) -> npt.NDArray[np.bool_] | None:
    """For each node of each tree in turn, whether NaN goes left; None where there are no trees."""
    learned = [tree.missing_go_to_left for tree in trees_of(estimator) if not isinstance(tree, PlainTree)]
    return np.concatenate(learned).astype(bool) if learned else None


def rows_at_thresholds(
    estimator: Any, base: npt.NDArray[np.float64], rows: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Rows that reach split nodes of the trees and lie at, just below and just above their thresholds.

    `base`, of shape (n, features), fills the features that the way to a node leaves open. About `rows`
    rows come back, of the same width: seven for each of the nodes chosen at random; and for each the index
    of the row of `base` that it was made from.
    """
    nodes = [(tree, node) for tree in trees_of(estimator) for node in np.flatnonzero(tree.children_left >= 0)]
    chosen = rng.permutation(len(nodes))[: max(1, rows // 7)]
    parents: dict[int, npt.NDArray[np.int64]] = {}
    found: list[npt.NDArray[np.float64]] = []
    origins: list[int] = []
    for index in chosen:
        tree, node = nodes[index]
        above = parents.setdefault(id(tree), _parents(tree))
        origin = int(rng.integers(len(base)))
        row = _reach(tree, int(node), above, base[origin].copy())
        around = _around(row, int(tree.feature[node]), float(tree.threshold[node]))
        found.extend(around)
        origins.extend([origin] * len(around))
    return np.array(found).reshape(-1, base.shape[1]), np.array(origins, dtype=np.int64)


def _parents(tree: Any) -> npt.NDArray[np.int64]:
    parents = np.full(tree.node_count, -1, dtype=np.int64)
    inner = np.flatnonzero(tree.children_left >= 0)
    parents[tree.children_left[inner]] = inner
    parents[tree.children_right[inner]] = inner
    return parents


def _reach(
    tree: Any, node: int, parents: npt.NDArray[np.int64], row: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Change the row as little as needed for it to arrive at the node.

    Walking up, the tightest bounds of a feature come first, so a value that is moved stays within those
    further up.
    """
    while (parent := int(parents[node])) >= 0:
        feature, threshold = int(tree.feature[parent]), float(tree.threshold[parent])
        margin = max(abs(threshold), 1.0) * 1e-3
        if node == tree.children_left[parent] and not row[feature] <= threshold:
            row[feature] = threshold - margin
        elif node == tree.children_right[parent] and not row[feature] > threshold:
            row[feature] = threshold + margin
        node = parent
    return row


def _around(row: npt.NDArray[np.float64], feature: int, threshold: float) -> list[npt.NDArray[np.float64]]:
    single = np.float32(threshold)
    below, above = np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf))
    values = [threshold, float(single), float(below), float(above)]
    values += [(float(single) + float(below)) / 2, (float(single) + float(above)) / 2]
    values.append(threshold + max(abs(threshold), 1.0) * 1e-3)
    rows = np.tile(row, (len(values), 1))
    rows[:, feature] = values
    return list(rows)
