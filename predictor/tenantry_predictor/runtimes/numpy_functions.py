"""What steps of numpy compute. They are compared by value, so that models of one kind share them.

Results differ from ONNX Runtime's by rounding alone: it sums up products in another order, and its
exponential functions are approximations of a few units in the last place. NaN and infinity go the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tenantry_core.values import AnyArray


def relu(rows: AnyArray) -> AnyArray:
    result: AnyArray = np.maximum(rows, 0)
    return result


def sigmoid(rows: AnyArray) -> AnyArray:
    result: AnyArray = 1 / (1 + np.exp(-rows))
    return result


def softmax(rows: AnyArray) -> AnyArray:
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    result: AnyArray = powers / powers.sum(axis=1, keepdims=True)
    return result


def normalized(rows: AnyArray) -> AnyArray:
    """L1; a row of zeros stays as it is."""
    norms = np.abs(rows).sum(axis=1, keepdims=True)
    result: AnyArray = rows / np.where(norms == 0, 1, norms)
    return result


def impute(rows: AnyArray, values: AnyArray) -> AnyArray:
    return np.where(np.isnan(rows), values, rows)


def concatenate(*parts: AnyArray) -> AnyArray:
    return np.concatenate(parts, axis=1)


def flatten(rows: AnyArray) -> AnyArray:
    return rows.reshape(-1)


def unflatten(rows: AnyArray) -> AnyArray:
    return rows.reshape(-1, 1)


def largest(rows: AnyArray) -> AnyArray:
    """The place of each row's largest value. NaN is smaller than all, but in the first place it wins."""
    if rows.shape[1] == 2:
        second: AnyArray = rows[:, 1] > rows[:, 0]
        return second.astype(np.int64)
    missing = np.isnan(rows)
    if missing.any():
        rows = np.where(missing, -np.inf, rows)
        rows[missing[:, 0], 0] = np.inf
    places: AnyArray = rows.argmax(axis=1)
    return places


@dataclass(frozen=True)
class Cast:
    dtype: np.dtype[Any]

    def __call__(self, rows: AnyArray) -> AnyArray:
        return rows.astype(self.dtype)


@dataclass(frozen=True)
class Pick:
    """Some of the columns."""

    columns: tuple[int, ...]

    def __call__(self, rows: AnyArray) -> AnyArray:
        return rows.take(self.columns, axis=1)


@dataclass(frozen=True)
class Part:
    """Columns that lie one behind the other."""

    start: int
    end: int

    def __call__(self, rows: AnyArray) -> AnyArray:
        return rows[:, self.start : self.end]


@dataclass(frozen=True)
class Labels:
    """Names of the classes by number."""

    names: tuple[Any, ...]
    dtype: np.dtype[Any]
    _array: AnyArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_array", np.array(self.names, self.dtype))

    def __call__(self, places: AnyArray) -> AnyArray:
        return self._array.take(places.reshape(-1))


@dataclass(frozen=True)
class OneHot:
    """1 in the column of a row's category, 0 in all others: in all for a category that is not known."""

    categories: tuple[str | int, ...]
    dtype: np.dtype[Any]
    _array: AnyArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_array", np.array([self.categories], self.dtype))

    def __call__(self, rows: AnyArray) -> AnyArray:
        found: AnyArray = rows == self._array
        return found.astype(np.float32)


def constants_bytes(function: object) -> int:
    """Memory that a step's own constants take, at most."""
    match function:
        case Labels(names=values) | OneHot(categories=values) | Pick(columns=values):
            return sum(100 + 4 * len(value) if isinstance(value, str) else 100 for value in values)
    return 0
