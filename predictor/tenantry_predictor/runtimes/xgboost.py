"""XGBoost models from `.ubj` and `.xgb.json` files, in the form of scikit-learn's estimators.

The file tells names and kinds of the columns; one row of a sample is kept in the booster's attribute
`tenantry.sample`. Answers are those of XGBoost's own scikit-learn classes: of early stopping the best
iterations, of `multi:softmax` as of `multi:softprob` a label beside the probabilities.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnxmltools
import pandas as pd
import xgboost

from tenantry_predictor.runtimes.boosters import (
    Array,
    Boosted,
    BoostedClassifier,
    check_trees,
    code_categories,
    graph_by,
)
from tenantry_predictor.runtimes.columns import InputColumns, Kind
from tenantry_predictor.runtimes.conversion import NotConvertible, Precision, finished
from tenantry_predictor.runtimes.description import Description
from tenantry_predictor.runtimes.readers import BadArtifact
from tenantry_predictor.runtimes.trees import PlainTree

SAMPLE_ATTRIBUTE = "tenantry.sample"
precisions: tuple[Precision, ...] = ("float",)
"""XGBoost itself computes in it."""

_SOFTMAX, _SOFTPROB = "multi:softmax", "multi:softprob"
_RANKING = "rank:"
_CATEGORICAL = "c"
_PLAIN = {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}}
"""Its graph answers with the sum of the leaves."""
_AROUND_WORDS = re.compile(r"^\[[\d:]+\] \S+:\d+: |\s*(~~~|Stack trace:).*", re.DOTALL)
"""Time and line of XGBoost's source before an error's words, and what follows them."""


def read(content: bytes) -> tuple[Boosted, Description]:
    """The model. Raises BadArtifact and UnknownColumns; a file made with malice may crash the process."""
    booster = _opened(content)
    learner = _learner(booster)
    features = booster.num_features()
    trees = _trees(learner["gradient_booster"])
    check_trees(trees, features)
    categories = _categories(learner, features)
    description = _described(booster, categories)

    def scores(given: Any) -> Array:
        coded = _coded(np.asarray(given), categories)
        return np.asarray(booster.predict(_matrix(booster, coded)))

    graphs = _CATEGORICAL not in (booster.feature_types or ())
    objective = learner["objective"]["name"]
    if objective in (_SOFTMAX, _SOFTPROB):
        booster.set_param({"objective": _SOFTPROB})
        classes = np.arange(int(learner["learner_model_param"]["num_class"]))
    elif objective == "binary:logistic" and learner["learner_model_param"].get("num_target", "1") in "01":
        classes = np.arange(2)
    else:
        return Boosted(booster, scores, trees, graphs=graphs), description
    return BoostedClassifier(booster, scores, trees, classes, graphs=graphs), description


def convert(
    model: Boosted, columns: InputColumns, *, sample: pd.DataFrame | None, precision: Precision
) -> bytes:
    """An ONNX graph of it. Raises NotConvertible."""
    if not model.graphs:
        raise NotConvertible("a model with categorical columns has no graph")
    booster = model.booster.copy()
    booster.feature_names = booster.feature_types = None  # the converter knows f0, f1... only
    document = json.loads(bytes(booster.save_raw("json")))
    objective = document["learner"]["objective"]
    if objective["name"].startswith(_RANKING):
        document["learner"]["objective"] = _PLAIN
        booster = _opened(json.dumps(document).encode())
    graph = graph_by(onnxmltools.convert_xgboost, booster, len(columns.labels))
    return finished(graph, model, columns, sample)


def dump(model: xgboost.Booster | xgboost.XGBModel, sample: pd.DataFrame | None = None) -> bytes:
    """The model as `.ubj`, with a row of the sample in it; the same model gives the same bytes.

    A sample's names serve a model that was fitted on arrays of as many columns. Raises UnknownColumns when
    the sample does not fit.
    """
    booster = _best(model.get_booster()) if isinstance(model, xgboost.XGBModel) else model.copy()
    if sample is not None:
        if booster.feature_names is None and sample.shape[1] == booster.num_features():
            booster.feature_names = [str(name) for name in sample.columns]
        described = _described(booster, _categories(_learner(booster), booster.num_features()))
        body = Description.of(described.columns, sample).sample
        booster.set_attr(**{SAMPLE_ATTRIBUTE: body or None})
    return bytes(booster.save_raw("ubj"))


def _opened(content: bytes) -> xgboost.Booster:
    if not content.startswith(b"{"):  # as JSON and UBJSON do
        raise BadArtifact("it is no XGBoost model: neither JSON nor UBJSON")
    booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
    try:
        with xgboost.config_context(verbosity=0):
            booster.load_model(bytearray(content))
    except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
        words = " ".join(_AROUND_WORDS.sub("", str(error)).split())
        raise BadArtifact(f"it is no XGBoost model, or it is truncated: {words}") from error
    saved_by_estimator = "scikit_learn" in booster.attributes()
    return _best(booster) if saved_by_estimator else booster


def _best(booster: xgboost.Booster) -> xgboost.Booster:
    """A copy of the iterations that its scikit-learn class would predict with."""
    best = booster.attr("best_iteration")
    return booster.copy() if best is None else booster[: int(best) + 1]


def _learner(booster: xgboost.Booster) -> dict[str, Any]:
    learner: dict[str, Any] = json.loads(bytes(booster.save_raw("json")))["learner"]
    return learner


def _described(booster: xgboost.Booster, categories: Sequence[list[Any]]) -> Description:
    names = booster.feature_names
    labels = tuple(names) if names else tuple(f"x{position}" for position in range(booster.num_features()))
    kinds: tuple[Kind, ...] = tuple(
        "string" if any(isinstance(value, str) for value in known) else "number" for known in categories
    )
    return Description(labels, kinds, bool(names), booster.attr(SAMPLE_ATTRIBUTE) or "")


def _categories(learner: dict[str, Any], features: int) -> list[list[Any]]:
    """For each feature the categories that it was trained with, in the order of their codes.

    None for numbers, and for categories of which the file holds the codes alone.
    """
    model = learner["gradient_booster"].get("model", {})
    encodings = model.get("cats", {}).get("enc", [])
    known = [_decoded(encoding) for encoding in encodings]
    return known if len(known) == features else [[] for _ in range(features)]


def _decoded(encoding: dict[str, Any]) -> list[Any]:
    """Texts lie one after the other, with the places where they begin and end.

    XGBoost counts letters where it cuts bytes, so texts outside of ASCII are cut short. Raises BadArtifact.
    """
    if "offsets" not in encoding:
        return list(encoding["values"])
    try:
        text = bytes(encoding["values"]).decode("ascii")
    except ValueError as error:
        raise BadArtifact(
            "it has categories outside of ASCII, which XGBoost cuts short; train with numbers for them"
        ) from error
    return [text[begin:end] for begin, end in pairwise(encoding["offsets"])]


def _coded(rows: Array, categories: Sequence[list[Any]]) -> Array:
    """Raises ValueError for a category that the model was not trained with, as XGBoost does."""
    if not any(categories):
        return rows.astype(np.float32)
    coded = np.empty(rows.shape, dtype=np.float32)
    for position, known in enumerate(categories):
        values = rows[:, position]
        coded[:, position] = code_categories(values, known) if known else values
        if known and len(unknown := values[np.isnan(coded[:, position]) & ~pd.isna(values)]):
            raise ValueError(f"the model was not trained with the category {unknown[0]!r}")
    return coded


def _matrix(booster: xgboost.Booster, rows: Array) -> xgboost.DMatrix:
    return xgboost.DMatrix(
        rows,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
        nthread=1,
    )


def _trees(gradient_booster: dict[str, Any]) -> list[PlainTree]:
    """None for a linear booster."""
    model = gradient_booster.get("gbtree", gradient_booster).get("model", {})
    return [
        PlainTree(
            np.array(tree["left_children"], dtype=np.int64),
            np.array(tree["right_children"], dtype=np.int64),
            np.array(tree["split_indices"], dtype=np.int64),
            np.array(tree["split_conditions"], dtype=np.float64),
        )
        for tree in model.get("trees", ())
    ]
