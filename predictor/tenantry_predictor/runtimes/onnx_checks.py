"""What an ONNX file must not hold, found by reading it alone: the runtime would follow it wherever it leads.

ONNX Runtime checks types, shapes and indices itself. It opens other files, though, takes a time that grows
with the square of the number of nodes, writes out functions where they are called, and goes down a decision
tree recursively: a chain of a hundred thousand splits ends its process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError

from tenantry_predictor.runtimes.base import LoadError

MAX_NODES = 20_000
"""Of all graphs together, with functions written out: seconds to open."""
MAX_TREE_DEPTH = 1_000
"""Splits. A tenth of what a thread's usual stack takes."""
ORT_MARK = b"ORTM"
"""Of ONNX Runtime's own format, after four bytes. By this alone it tells it, and then it checks little."""

_PIECE = 10_000

_Ints = npt.NDArray[np.int64]
_NONE: _Ints = np.empty(0, np.int64)


def checked(data: bytes) -> onnx.ModelProto:
    """The file, parsed. Raises LoadError."""
    if data[4:8] == ORT_MARK:  # it may be ONNX as well, and then another graph would be run than is read here
        raise LoadError("LoadFailed", "The file is in ONNX Runtime's own format; publish it as ONNX.")
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise LoadError("LoadFailed", "The file is not ONNX, or it is truncated or corrupt.") from error
    graphs = [model.graph, *model.functions]
    if any(_is_external(tensor) for graph in graphs for tensor in _tensors(graph)):
        raise LoadError(
            "LoadFailed", "The file keeps weights in other files (external data); save it as one file."
        )
    if _Size(model.functions).of(model.graph) > MAX_NODES:
        raise LoadError("LoadFailed", f"The graph has more than {MAX_NODES} nodes.")
    if any(_is_deep(node) for graph in graphs for node in _nodes(graph)):
        raise LoadError("LoadFailed", f"A decision tree is deeper than {MAX_TREE_DEPTH} splits.")
    return model


def _is_external(tensor: Any) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _nodes(graph: Any) -> Iterator[Any]:
    """Every node of a graph or function, those of subgraphs too."""
    for node in graph.node:
        yield node
        for subgraph in _subgraphs(node):
            yield from _nodes(subgraph)


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        yield attribute.g
        yield from attribute.graphs


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor of a graph or function, those inside attributes and subgraphs too."""
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
        for subgraph in _subgraphs(node):
            yield from _tensors(subgraph)


class _Size:
    """Numbers of nodes with functions written out; anything beyond MAX_NODES is just that."""

    def __init__(self, functions: Iterable[Any]) -> None:
        self._functions = {(function.domain, function.name): function for function in functions}
        self._known: dict[tuple[str, str], int] = {}

    def of(self, graph: Any) -> int:
        size = 0
        for node in _nodes(graph):
            size += 1 + self._of_function((node.domain, node.op_type))
            if size > MAX_NODES:
                break
        return size

    def _of_function(self, name: tuple[str, str]) -> int:
        if name not in self._functions:
            return 0
        if name not in self._known:
            self._known[name] = MAX_NODES  # while it is looked at: one that calls itself has no end
            try:
                self._known[name] = self.of(self._functions[name])
            except RecursionError:
                self._known[name] = MAX_NODES + 1
        return self._known[name]


def _is_deep(node: Any) -> bool:
    if "TreeEnsemble" not in str(node.op_type):  # what is no UTF-8 comes as bytes
        return False
    ints = {attribute.name: attribute.ints for attribute in node.attribute}
    sides = [ints.get(f"nodes_{side}nodeids", ()) for side in ("true", "false")]
    if max(map(len, sides)) <= MAX_TREE_DEPTH:
        return False
    if "tree_roots" in ints:
        leafs = [_array(ints.get(f"nodes_{side}leafs", ())) for side in ("true", "false")]
        return _goes_deep([_inner(_array(to), leaf == 0) for to, leaf in zip(sides, leafs, strict=True)])
    trees, nodes = _array(ints.get("nodes_treeids", ())), ints.get("nodes_nodeids", ())
    if len(trees) != len(nodes) or _largest(trees) <= 2 * MAX_TREE_DEPTH:
        return False  # what does not fit together the runtime refuses
    ids = _array(nodes)
    find = _by_order(trees, ids) or _by_id(trees, ids)
    children = [_array(to)[: len(ids)] for to in sides]
    places = [find(side) for side in children]
    # Leaves have children 0, as a rule; what is not deep even with all others taken for splits needs no more.
    if not _goes_deep([_inner(place, side != 0) for place, side in zip(places, children, strict=True)]):
        return False
    modes = next((attribute.strings for attribute in node.attribute if attribute.name == "nodes_modes"), ())
    splits = np.array([mode != b"LEAF" for mode in modes], np.bool_)
    return _goes_deep([_inner(place, splits) for place in places])


def _largest(trees: _Ints) -> int:
    """Nodes of the largest tree. Numbers as converters write them are counted without sorting."""
    if trees.min(initial=0) >= 0 and trees.max(initial=0) < len(trees):
        return int(np.bincount(trees).max(initial=0))
    return int(np.unique(trees, return_counts=True)[1].max(initial=0))


def _by_order(trees: _Ints, ids: _Ints) -> Callable[[_Ints], _Ints] | None:
    """Where the children of each node are, for nodes in the order that converters write: 0, 1, 2... of one
    tree, then of the next; None where they are in another one. A child that is none is -1.
    """
    first = np.flatnonzero(np.diff(trees, prepend=trees[0] - 1))
    sizes = np.diff(first, append=len(trees))
    starts = np.repeat(first, sizes)
    if len(np.unique(trees[first])) != len(first) or np.any(ids != np.arange(len(ids)) - starts):
        return None
    ends = starts + np.repeat(sizes, sizes)

    def find(children: _Ints) -> _Ints:
        places = starts[: len(children)] + children
        there = (children >= 0) & (places < ends[: len(children)])
        return np.where(there, places, -1)

    return find


def _by_id(trees: _Ints, ids: _Ints) -> Callable[[_Ints], _Ints]:
    """The same for (tree, id) pairs of any numbers in any order."""
    _, numbers_of_trees = np.unique(trees, return_inverse=True)
    known, numbers = np.unique(ids, return_inverse=True)
    keys = numbers_of_trees * len(known) + numbers
    order = np.argsort(keys)
    keys = keys[order]

    def find(children: _Ints) -> _Ints:
        numbers = np.searchsorted(known, children).clip(max=len(known) - 1)
        wanted = numbers_of_trees[: len(children)] * len(known) + numbers
        found = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        return np.where((known[numbers] == children) & (keys[found] == wanted), order[found], -1)

    return find


def _inner(children: _Ints, is_inner: npt.NDArray[np.bool_]) -> _Ints:
    count = min(len(children), len(is_inner))
    return np.where(is_inner[:count], children[:count], -1)


def _goes_deep(sides: list[_Ints]) -> bool:
    """Level by level from all nodes that are nobody's children, and from the first of all.

    Branches may meet again, as LightGBM's sets of categories do; those that do so time and again are deep.
    """
    count = min(map(len, sides))
    children = np.stack([side[:count] for side in sides])
    children[children >= count] = -1
    is_root = np.ones(count, np.bool_)
    is_root[children[children >= 0]] = False
    is_root[0] = True
    level, looked_at = np.flatnonzero(is_root), 0
    for _ in range(MAX_TREE_DEPTH):
        below = children[:, level]
        level = np.unique(below[below >= 0])
        looked_at += len(level)
        if not len(level):
            return False
        if looked_at > 20 * count:
            return True
    return True


def _array(values: Sequence[int]) -> _Ints:
    """Piece by piece, so that the threads of others get their turn; a slice is far faster than the whole."""
    pieces = range(0, len(values), _PIECE)
    return np.concatenate([_NONE, *(np.array(values[at : at + _PIECE], np.int64) for at in pieces)])
