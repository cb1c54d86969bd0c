"""LightGBM models from `.lgb.txt` files, in the form of scikit-learn's estimators.

LightGBM writes spaces in names as `_`, and knows classes by number only. What else is to be said stands in a
line `tenantry:` of JSON before the last line, `pandas_categorical:`, where LightGBM looks for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lightgbm
import msgspec
import numpy as np
import onnx
import onnxmltools
import pandas as pd

from tenantry_predictor.runtimes.boosters import (
    Array,
    Boosted,
    BoostedClassifier,
    check_trees,
    code_categories,
    graph_by,
    tree_node,
)
from tenantry_predictor.runtimes.columns import InputColumns, Kind
from tenantry_predictor.runtimes.conversion import NotConvertible, Precision, finished, shortened
from tenantry_predictor.runtimes.description import Description
from tenantry_predictor.runtimes.readers import BadArtifact
from tenantry_predictor.runtimes.trees import PlainTree

precisions: tuple[Precision, ...] = ("double",)
"""LightGBM compares in it, so a graph in single precision goes astray at thresholds."""

_PREFIX = "\ntenantry:"
_LAST_LINE = "\npandas_categorical:"
_END_OF_TREES = "\nend of trees"
_PARAMETERS, _END_OF_PARAMETERS = "\nparameters:", "\nend of parameters"
_UNNAMED = re.compile(r"Column_\d+")
_ZERO = float(np.float32(1e-35))
"""Values up to this size are 0 for LightGBM."""
_CATEGORICAL_SPLIT = 1
"""A bit of a node's decision type."""


class Notes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What LightGBM does not keep."""

    columns: tuple[str, ...] = ()
    """Names as they were before their spaces went."""
    classes: tuple[str | int | bool, ...] = ()
    """Labels of the classes 0, 1..."""
    sample: str = ""
    """A `/predict` body of one row."""


def read(content: bytes) -> tuple[Boosted, Description]:
    """The model. Raises BadArtifact and UnknownColumns; a file made with malice may crash the process."""
    booster, text = _opened(content)
    header = dict(_fields(text.partition("\nTree=")[0]))
    notes = _notes(text)
    features = booster.num_feature()
    trees = [tree for _, tree in _trees(text)]
    check_trees(trees, features)
    categories = _categories(booster, header)
    description = _described(booster, notes, categories)

    def scores(given: Any) -> Array:
        return np.asarray(booster.predict(_coded(np.asarray(given), categories), num_threads=1))

    categorical = any(split for split, _ in _trees(text))
    objective = header.get("objective", "").partition(" ")[0]
    if objective != "binary" and not objective.startswith("multiclass"):
        return Boosted(booster, scores, trees, graphs=not categorical), description
    count = max(2, int(header["num_class"]))
    if len(notes.classes) not in (0, count):
        raise BadArtifact(f"it has {count} classes, but {len(notes.classes)} labels")
    classes = np.array(notes.classes or range(count))
    return BoostedClassifier(booster, scores, trees, classes, graphs=not categorical), description


def convert(
    model: Boosted, columns: InputColumns, *, sample: pd.DataFrame | None, precision: Precision
) -> bytes:
    """An ONNX graph of it that compares in double precision. Raises NotConvertible."""
    if not model.graphs:
        raise NotConvertible("a model that splits on categories has no graph")
    graph = graph_by(onnxmltools.convert_lightgbm, model.booster, len(columns.labels), zipmap=False)
    node = tree_node(graph)
    if isinstance(model, BoostedClassifier):
        _label(graph, node, model.classes_)
        if _objective(model.booster) == "multiclassova":
            _set(node, "post_transform", "LOGISTIC")
    _compare_in_double(graph, node, model.trees)
    return finished(graph, model, columns, sample)


def dump(model: lightgbm.Booster | lightgbm.LGBMModel, sample: pd.DataFrame | None = None) -> bytes:
    """The model as text, of early stopping the best iterations, with a row of the sample in it.

    A sample's names serve a model that was fitted on arrays of as many columns, and give a model that was
    fitted on a frame its spaces back. Raises UnknownColumns when the sample does not fit.
    """
    booster = model.booster_ if isinstance(model, lightgbm.LGBMModel) else model
    text = booster.model_to_string()
    header = dict(_fields(text.partition("\nTree=")[0]))
    notes = Notes(columns=_names(booster, sample), classes=_classes(model))
    described = _described(booster, notes, _categories(booster, header))
    if sample is not None and len(sample):
        body = Description.of(described.columns, sample).sample
        notes = msgspec.structs.replace(notes, sample=body)
    line = _PREFIX + msgspec.json.encode(notes).decode()
    place = text.rindex(_LAST_LINE)
    return (text[:place] + line + text[place:]).encode()


def _opened(content: bytes) -> tuple[lightgbm.Booster, str]:
    try:
        text = content.decode()
        cut = _END_OF_PARAMETERS not in text if _PARAMETERS in text else _END_OF_TREES not in text
        if cut or not text.startswith("tree\n"):
            raise BadArtifact("it is no LightGBM model, or it is truncated")
        return lightgbm.Booster(model_str=text), text
    except (lightgbm.basic.LightGBMError, ValueError, LookupError) as error:
        raise BadArtifact(f"it is no LightGBM model, or it is damaged: {shortened(error)}") from error


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name, value


def _notes(text: str) -> Notes:
    place = text.rfind(_PREFIX)
    if place < 0:
        return Notes()
    try:
        return msgspec.json.decode(text[place + len(_PREFIX) :].partition("\n")[0], type=Notes)
    except msgspec.DecodeError as error:
        raise BadArtifact(f"its line `tenantry:` is not understood: {error}") from error


def _trees(text: str) -> Iterator[tuple[bool, PlainTree]]:
    """Each tree, and whether it splits on categories.

    LightGBM numbers inner nodes and leaves apart: a leaf as a child is the complement of its number.
    """
    for part in text.partition(_END_OF_TREES)[0].split("\nTree=")[1:]:
        fields = dict(_fields(part))
        if fields.get("num_leaves") == "1":
            leaf = np.array([-1])
            yield False, PlainTree(leaf, leaf, np.array([0]), np.array([0.0]))
            continue
        try:
            left, right, feature, decision = (
                np.array(fields[name].split(), dtype=np.int64)
                for name in ("left_child", "right_child", "split_feature", "decision_type")
            )
            threshold = np.array(fields["threshold"].split(), dtype=np.float64)
        except (LookupError, ValueError, OverflowError) as error:
            raise BadArtifact("a tree is damaged") from error
        inner, leaves = len(left), len(left) + 1
        ends = np.full(leaves, -1)
        yield (
            bool(np.any(decision & _CATEGORICAL_SPLIT)),
            PlainTree(
                np.concatenate([np.where(left < 0, inner + ~left, left), ends]),
                np.concatenate([np.where(right < 0, inner + ~right, right), ends]),
                np.concatenate([feature, ends]),
                np.concatenate([threshold, np.zeros(leaves)]),
            ),
        )


def _described(booster: lightgbm.Booster, notes: Notes, categories: Sequence[list[Any]]) -> Description:
    names = booster.feature_name()
    if notes.columns and len(notes.columns) != len(names):
        raise BadArtifact(f"it has {len(names)} columns, but {len(notes.columns)} names")
    unnamed = not notes.columns and all(_UNNAMED.fullmatch(name) for name in names)
    labels = [f"x{position}" for position in range(len(names))] if unnamed else notes.columns or names
    kinds: tuple[Kind, ...] = tuple(
        "string" if any(isinstance(value, str) for value in known) else "number" for known in categories
    )
    return Description(tuple(labels), kinds, not unnamed, notes.sample)


def _categories(booster: lightgbm.Booster, header: Mapping[str, str]) -> list[list[Any]]:
    """For each feature the categories of its pandas column, in the order of their codes; none for numbers.

    The file lists them for categorical columns in turn, and which these are tells how their values are
    summed up: `1:2:0` in place of `[0.5:7.1]`.
    """
    known = booster.pandas_categorical or []
    infos = header["feature_infos"].split(" ")
    places = [p for p, info in enumerate(infos) if not info.startswith("[") and info != "none"]
    if not known:
        return [[] for _ in infos]
    if len(known) != len(places):
        raise BadArtifact("the file does not tell which of its columns are categories: a column never varied")
    by_place = dict(zip(places, known, strict=True))
    return [by_place.get(position, []) for position in range(len(infos))]


def _coded(rows: Array, categories: Sequence[list[Any]]) -> Array:
    """A category that the model was not trained with is missing, as for LightGBM."""
    if not any(categories):
        return rows.astype(np.float64)
    columns = [
        code_categories(rows[:, position], known) if known else rows[:, position].astype(np.float64)
        for position, known in enumerate(categories)
    ]
    return np.column_stack(columns)


def _objective(booster: lightgbm.Booster) -> str:
    header = dict(_fields(booster.model_to_string(num_iteration=1).partition("\nTree=")[0]))
    return header.get("objective", "").partition(" ")[0]


def _names(booster: lightgbm.Booster, sample: pd.DataFrame | None) -> tuple[str, ...]:
    """The sample's, where they are the model's own or the model has none."""
    names = booster.feature_name()
    if sample is None:
        return ()
    if all(_UNNAMED.fullmatch(name) for name in names):
        return tuple(map(str, sample.columns)) if sample.shape[1] == len(names) else ()
    given = {re.sub(r"\s", "_", str(column)): str(column) for column in sample.columns}
    return tuple(given.get(name, name) for name in names)


def _classes(model: lightgbm.Booster | lightgbm.LGBMModel) -> tuple[str | int | bool, ...]:
    """Labels other than 0, 1..."""
    if not isinstance(model, lightgbm.LGBMClassifier):
        return ()
    classes = model.classes_.tolist()
    plain = classes == list(range(len(classes))) and not isinstance(classes[0], bool)
    return () if plain else tuple(int(c) if isinstance(c, float) and c.is_integer() else c for c in classes)


# The graph


def _label(graph: onnx.ModelProto, node: onnx.NodeProto, classes: Array) -> None:
    """Answer with the labels of the classes in place of their numbers."""
    kind = onnx.TensorProto.INT64
    _remove(node, "classlabels_int64s")
    if classes.dtype.kind == "U":
        kind = onnx.TensorProto.STRING
        _set(node, "classlabels_strings", [str(label) for label in classes])
    else:
        _set(node, "classlabels_int64s", [int(label) for label in classes])
    # The converter casts numbers, which strings are not.
    ends = [node.output[0], node.output[1]]
    del graph.graph.node[1:]
    del graph.graph.initializer[:]
    shapes: tuple[list[int | None], ...] = ([None], [None, len(classes)])
    kinds = (kind, onnx.TensorProto.FLOAT)
    del graph.graph.output[:]
    graph.graph.output.extend(
        onnx.helper.make_tensor_value_info(*output) for output in zip(ends, kinds, shapes, strict=True)
    )


def _compare_in_double(graph: onnx.ModelProto, node: onnx.NodeProto, trees: Sequence[PlainTree]) -> None:
    """Give the node its thresholds back, which the converter rounded, and let it take doubles."""
    given = {attribute.name: attribute for attribute in node.attribute}
    exact = _exact_thresholds(trees)
    keys = zip(
        given["nodes_treeids"].ints,
        given["nodes_featureids"].ints,
        given["nodes_values"].floats,
        given["nodes_modes"].strings,
        strict=True,
    )
    try:
        values = [
            0.0 if mode == b"LEAF" else _beyond_zero(exact[tree, feature, value])
            for tree, feature, value, mode in keys
        ]
    except KeyError as error:
        raise NotConvertible("the graph has a threshold that the model has not") from error
    weights = "class_weights" if "class_weights" in given else "target_weights"
    for domain in graph.opset_import:
        if domain.domain == node.domain:
            domain.version = 3  # the first that takes doubles
    _set_doubles(node, "nodes_values", values)
    _set_doubles(node, weights, list(given[weights].floats))
    _remove(node, "nodes_hitrates")
    graph.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def _exact_thresholds(trees: Sequence[PlainTree]) -> dict[tuple[int, int, float], float]:
    """By tree, feature and the threshold in single precision. Raises NotConvertible where two become one."""
    exact: dict[tuple[int, int, float], float] = {}
    for index, tree in enumerate(trees):
        for node in np.flatnonzero(tree.children_left >= 0):
            threshold = float(tree.threshold[node])
            key = (index, int(tree.feature[node]), float(np.float32(threshold)))
            if exact.setdefault(key, threshold) != threshold:
                raise NotConvertible("two thresholds of a tree are too close for a graph")
    return exact


def _beyond_zero(threshold: float) -> float:
    """A threshold that sends all that LightGBM takes for 0 where it sends 0."""
    if abs(threshold) > _ZERO:
        return threshold
    return _ZERO if threshold >= 0 else float(np.nextafter(-_ZERO, -np.inf))


def _set_doubles(node: onnx.NodeProto, name: str, values: list[float]) -> None:
    _remove(node, name)
    tensor = onnx.helper.make_tensor(name, onnx.TensorProto.DOUBLE, [len(values)], values)
    _set(node, f"{name}_as_tensor", tensor)


def _set(node: onnx.NodeProto, name: str, value: Any) -> None:
    _remove(node, name)
    node.attribute.append(onnx.helper.make_attribute(name, value))


def _remove(node: onnx.NodeProto, name: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
