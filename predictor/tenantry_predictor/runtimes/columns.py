"""Which columns a fitted scikit-learn estimator takes, and whether each holds numbers or strings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline

Kind = Literal["number", "string"]


class UnknownColumns(ValueError):
    """The estimator does not tell how many columns it takes, or the sample does not fit it."""


@dataclass(frozen=True, slots=True)
class InputColumns:
    """The columns of an estimator, in its own order."""

    labels: tuple[str, ...]
    """Their names; `x0`, `x1`... (scikit-learn's own convention) where it was fitted on plain arrays."""
    kinds: tuple[Kind, ...]
    named: bool
    """Whether the estimator itself knows the names, so that it wants a DataFrame."""

    @property
    def numeric(self) -> bool:
        return "string" not in self.kinds

    def frame(self, rows: Sequence[Sequence[Any]] | npt.NDArray[Any]) -> pd.DataFrame:
        """Rows of values as a frame: float64 for numbers, objects for strings. Raises UnknownColumns."""
        return self.coerce(pd.DataFrame(np.asarray(rows, dtype=object), columns=list(self.labels)))

    def coerce(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame's columns in the estimator's order and with its types. Raises UnknownColumns."""
        missing = [label for label in self.labels if label not in frame.columns]
        if missing:
            raise UnknownColumns(f"the sample lacks the column {missing[0]!r}")
        try:
            return pd.DataFrame(
                {
                    label: frame[label].astype(object if kind == "string" else np.float64)
                    for label, kind in zip(self.labels, self.kinds, strict=True)
                }
            )
        except (TypeError, ValueError) as error:
            raise UnknownColumns(f"the sample does not fit the model: {error}") from error

    def estimator_input(self, frame: pd.DataFrame) -> pd.DataFrame | npt.NDArray[Any]:
        """What `predict` is to be called with: a frame where it was fitted on one, else an array."""
        return frame if self.named else frame.to_numpy()


def columns_of(model: Any, sample: pd.DataFrame | None = None) -> InputColumns:
    """Derive the columns from what the estimator learned in `fit`, and from a sample where there is one.

    A sample's names serve an estimator that was fitted on arrays of as many columns.
    Raises UnknownColumns.
    """
    fitted = getattr(model, "feature_names_in_", None)
    count = len(fitted) if fitted is not None else getattr(model, "n_features_in_", None)
    if count is None:
        raise UnknownColumns(f"{type(model).__name__} does not say how many columns it takes: is it fitted?")
    if fitted is not None:
        labels = tuple(str(name) for name in fitted)
    elif sample is not None and sample.shape[1] == count:
        labels = tuple(str(name) for name in sample.columns)
    else:
        labels = tuple(f"x{position}" for position in range(count))
    learned = learned_values(model)
    texts = {p for p, values in learned.items() if any(isinstance(value, str) for value in values)}
    if sample is not None:
        texts |= {p for p, label in enumerate(labels) if label in sample and _holds_text(sample[label])}
    kinds: tuple[Kind, ...] = tuple("string" if p in texts else "number" for p in range(count))
    return InputColumns(labels, kinds, named=fitted is not None)


def learned_values(step: Any) -> dict[int, list[Any]]:
    """By position of a column, the values learned from it: categories, fill values, words."""
    if isinstance(step, Pipeline):
        return _pipeline_values(step)
    if isinstance(step, ColumnTransformer):
        return _transformer_values(step)
    if isinstance(step, FeatureUnion):
        return _merge(learned_values(part) for _, part in step.transformer_list)
    for wrapped in ("best_estimator_", "regressor_", "_preprocessor"):  # the last: of categorical boosting
        if getattr(step, wrapped, None) is not None:
            return learned_values(getattr(step, wrapped))
    if hasattr(step, "categories_"):
        return dict(enumerate(map(list, step.categories_)))
    if isinstance(step, SimpleImputer):
        return {position: [value] for position, value in enumerate(step.statistics_)}
    return {}


def transformer_positions(transformer: ColumnTransformer, columns: Any) -> list[int]:
    """A ColumnTransformer's column specification (names, positions, slice, mask) as positions."""
    names = list(getattr(transformer, "feature_names_in_", ()))
    if isinstance(columns, str):
        return [names.index(columns)]
    if isinstance(columns, slice):
        start, stop = (names.index(b) if isinstance(b, str) else b for b in (columns.start, columns.stop))
        if isinstance(columns.stop, str):
            stop += 1  # like pandas: a slice of names includes its end
        return list(range(transformer.n_features_in_))[slice(start, stop, columns.step)]
    if isinstance(columns, int | np.integer):
        return [int(columns) % transformer.n_features_in_]
    chosen = np.asarray(columns)
    if chosen.dtype == bool:
        return [int(position) for position in np.flatnonzero(chosen)]
    return [
        names.index(c) if isinstance(c, str) else int(c) % transformer.n_features_in_ for c in chosen.tolist()
    ]


def _pipeline_values(pipeline: Pipeline) -> dict[int, list[Any]]:
    found: list[dict[int, list[Any]]] = []
    for _, step in pipeline.steps:
        if step is None or step == "passthrough":
            continue
        found.append(learned_values(step))
        if not isinstance(step, SimpleImputer):  # after anything else, positions are no longer the input's
            break
    return _merge(found)


def _transformer_values(transformer: ColumnTransformer) -> dict[int, list[Any]]:
    found = []
    for _, part, columns in transformer.transformers_:
        if isinstance(part, str):
            continue
        positions = transformer_positions(transformer, columns)
        if hasattr(part, "vocabulary_"):
            found.append({positions[0]: list(part.vocabulary_)})
        found.append({positions[p]: values for p, values in learned_values(part).items()})
    return _merge(found)


def _merge(parts: Iterable[dict[int, list[Any]]]) -> dict[int, list[Any]]:
    merged: dict[int, list[Any]] = {}
    for part in parts:
        for position, values in part.items():
            merged.setdefault(position, []).extend(values)
    return merged


def _holds_text(values: pd.Series) -> bool:
    return any(isinstance(value, str) for value in values.dropna().head(100))
