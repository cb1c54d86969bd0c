"""The models that benchmarks serve: some trained, the rest derived from them."""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tenantry import publish

COLUMNS = ["amount", "hour", "weekday", "returning"]
KINDS = {
    "linear": lambda seed: make_pipeline(StandardScaler(), LinearRegression()),
    "boosting": lambda seed: GradientBoostingRegressor(n_estimators=100, random_state=seed),
    "forest": lambda seed: RandomForestRegressor(n_estimators=100, random_state=seed),
}
TRAINED = 4
"""Models of each kind that are trained."""
_SCALED = ("coefficients", "intercepts", "target_weights", "base_values")
"""What holds a graph's predictions linearly, in the operators that the kinds are converted to."""


@dataclass(frozen=True)
class Model:
    """One tenant's model, called as the tenant is, and the artifact that `tenantry.publish` writes of it."""

    name: str
    estimator: Any
    onnx: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.onnx).hexdigest()


def records(rows: int) -> list[dict[str, float]]:
    """What is asked: as many rows, the same in every run."""
    values = np.random.default_rng(11).random((rows, len(COLUMNS))).round(3)
    return [dict(zip(COLUMNS, row, strict=True)) for row in values.tolist()]


def derive(kind: str, count: int) -> Iterator[Model]:
    """`<kind>-0` and so on: a few trained on other data each, the others with all their answers scaled."""
    bases = [_train(kind, seed) for seed in range(min(TRAINED, count))]
    factors = np.random.default_rng(7).uniform(0.5, 1.5, count)
    for number in range(count):
        estimator, graph = bases[number % len(bases)]
        if number >= len(bases):
            estimator, graph = _scaled(estimator, factors[number]), _scaled_graph(graph, factors[number])
        yield Model(f"{kind}-{number}", estimator, graph.SerializeToString())


def _train(kind: str, seed: int) -> tuple[Any, onnx.ModelProto]:
    generator = np.random.default_rng(seed)
    rows = pd.DataFrame(generator.random((200, len(COLUMNS))), columns=COLUMNS)
    target = rows.to_numpy() @ generator.normal(size=len(COLUMNS)) + generator.normal(size=200) / 10
    estimator = KINDS[kind](seed).fit(rows, target)
    return estimator, onnx.load_from_string(published(estimator))


def published(estimator: Any) -> bytes:
    """The artifact that `tenantry.publish` writes of a fitted estimator."""
    with tempfile.TemporaryDirectory() as folder:
        version = publish(estimator, tenant="a", to=f"file://{folder}/")
        return Path(version.uri.removeprefix("file://")).read_bytes()


def _scaled(estimator: Any, factor: float) -> Any:
    """A copy whose predictions are `factor` times those of the original."""
    model = copy.deepcopy(estimator)
    if isinstance(model, GradientBoostingRegressor):
        model.init_.constant_ = model.init_.constant_ * factor
    if isinstance(model, GradientBoostingRegressor | RandomForestRegressor):
        for tree in np.ravel(model.estimators_):
            tree.tree_.value[...] *= factor
    else:
        model[-1].coef_ = model[-1].coef_ * factor
        model[-1].intercept_ = model[-1].intercept_ * factor
    return model


def _scaled_graph(graph: onnx.ModelProto, factor: float) -> onnx.ModelProto:
    """The same for a published graph, as converting the scaled estimator takes up to a second."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in _SCALED:
                attribute.floats[:] = [value * factor for value in attribute.floats]
    return model
