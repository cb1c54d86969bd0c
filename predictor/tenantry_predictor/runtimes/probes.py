"""Rows on which an estimator and its graph are compared: given, made up, and at the model's own edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

from tenantry_predictor.runtimes.columns import InputColumns, learned_values, transformer_positions
from tenantry_predictor.runtimes.trees import holds_trees, rows_at_thresholds

Rows = npt.NDArray[Any]
"""Of shape (rows, columns): objects, as a column may hold strings."""
Random = np.random.Generator

_INVERTIBLE = (StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler)
UNSEEN = "a value never seen"


@dataclass(frozen=True, slots=True)
class Probe:
    """Rows of one origin, so that a difference can be told apart: `where` is a phrase for a sentence."""

    where: str
    frame: pd.DataFrame
    required: bool = False
    """Whether the estimator must accept them; made-up rows that it refuses prove nothing."""


def probes(
    model: Any, columns: InputColumns, sample: pd.DataFrame | None, *, rows: int = 1000, seed: int = 0
) -> Iterator[Probe]:
    """The sample, rows of all magnitudes, rows at split thresholds, missing values, unseen strings.

    At most `rows` of the sample, as many made up, and about as many at thresholds.
    Raises UnknownColumns when the sample does not fit.
    """
    rng = np.random.default_rng(seed)
    if sample is not None and len(sample):
        sample = columns.coerce(sample.head(rows))
        yield Probe("a row of the sample", sample, required=True)
    plain = _made_up(columns, learned_values(model), sample, rows, rng)
    yield Probe("a made-up row", columns.frame(plain))
    yield from _through_steps(model, columns, plain, rng)
    for kind, value in (("number", np.nan), ("string", UNSEEN)):
        positions = [p for p, other in enumerate(columns.kinds) if other == kind]
        if positions:
            changed = plain[:50].copy()
            changed[np.arange(len(changed)), rng.choice(positions, len(changed))] = value
            what = "a missing value" if kind == "number" else "an unseen string"
            yield Probe(f"a row with {what}", columns.frame(changed))


def _through_steps(model: Any, columns: InputColumns, plain: Rows, rng: Random) -> Iterator[Probe]:
    """Rows chosen where the last step sees them, led back through the steps before it where possible."""
    head, last = (model[:-1], model.steps[-1][1]) if isinstance(model, Pipeline) else (None, model)
    head = head if head is not None and head.steps else None
    before = columns.estimator_input(columns.frame(plain))
    try:
        given: Any = before if head is None else head.transform(before)
        seen = np.asarray(given.toarray() if hasattr(given, "toarray") else given, dtype=np.float64)
    except (TypeError, ValueError):
        return  # steps that refuse made-up values, or features that are no numbers
    usual = rng.normal(size=seen.shape)
    yield Probe("a row of usual size", columns.frame(_lead_back(head, usual, before)))
    if holds_trees(last):
        centred = np.where(rng.random(seen.shape) < 0.5, seen, usual)
        edges, origins = rows_at_thresholds(last, centred, len(plain), rng)
        before = columns.estimator_input(columns.frame(plain[origins]))
        yield Probe("a row at a split threshold", columns.frame(_lead_back(head, edges, before)))


def _lead_back(step: Any, after: Rows, before: Any) -> Rows:
    """Rows that the step turns into `after`, as far as it can be inverted; else what is in `before`.

    `before` are rows as the step takes them, a frame or an array, one for each row of `after`.
    """
    if isinstance(step, Pipeline):
        return _back_through_pipeline(step, after, before)
    if isinstance(step, ColumnTransformer):
        return _back_through_columns(step, after, before)
    plain = np.asarray(before, dtype=object)
    if after.shape != plain.shape:
        return plain
    if _passes(step) or isinstance(step, SimpleImputer):
        return after
    if isinstance(step, _INVERTIBLE):
        return np.asarray(step.inverse_transform(after.astype(np.float64)), dtype=object)
    return plain


def _passes(step: Any) -> bool:
    """A ColumnTransformer that was fitted holds a function without a function for `passthrough`."""
    return step in (None, "passthrough") or (isinstance(step, FunctionTransformer) and step.func is None)


def _back_through_pipeline(pipeline: Pipeline, after: Rows, before: Any) -> Rows:
    entering = [before]
    for _, step in pipeline.steps[:-1]:
        entering.append(entering[-1] if _passes(step) else step.transform(entering[-1]))
    for (_, step), rows in zip(reversed(pipeline.steps), reversed(entering), strict=True):
        after = _lead_back(step, after, rows.toarray() if hasattr(rows, "toarray") else rows)
    return after


def _back_through_columns(transformer: ColumnTransformer, after: Rows, before: Any) -> Rows:
    rows = np.array(before, dtype=object)
    for name, part, columns in transformer.transformers_:
        positions = transformer_positions(transformer, columns)
        made = transformer.output_indices_[name]
        if part != "drop" and positions:
            rows[:, positions] = _lead_back(part, after[:, made], rows[:, positions])
    return rows


def _made_up(
    columns: InputColumns,
    learned: Mapping[int, Sequence[Any]],
    sample: pd.DataFrame | None,
    rows: int,
    rng: Random,
) -> Rows:
    """Independent values: of several magnitudes, and from the sample; categories from the model's own.

    Numbers that are categories are given as categories only: a graph takes 3.7 for the category 3, which
    scikit-learn calls unknown.
    """
    made = np.empty((rows, len(columns.labels)), dtype=object)
    for position, (label, kind) in enumerate(zip(columns.labels, columns.kinds, strict=True)):
        given = [] if sample is None else list(sample[label].dropna())
        own = [v for v in learned.get(position, ()) if isinstance(v, str) == (kind == "string") and v == v]
        if kind == "string" or len(own) > 1:
            made[:, position] = rng.choice(np.array([*own, *given] or [UNSEEN], dtype=object), rows)
        else:
            made[:, position] = _numbers(np.array([*own, *given], dtype=np.float64), rows, rng)
    return made


def _numbers(given: npt.NDArray[np.float64], rows: int, rng: Random) -> npt.NDArray[np.float64]:
    broken = rng.normal(size=rows) * rng.choice([1.0, 10.0, 1000.0], rows)
    values = np.where(rng.random(rows) < 0.5, broken, rng.integers(0, 30, rows))
    return np.where(rng.random(rows) < 0.5, values, rng.choice(given, rows)) if len(given) else values
