"""Tables as bodies of `/predict`, and the list that it answers as a Series, a DataFrame or an array."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

Table = pd.DataFrame | Sequence[Mapping[Any, Any]] | Sequence[Sequence[Any]] | npt.NDArray[Any]
"""Rows: a DataFrame, a list of records, a list of rows, or an array of two dimensions."""


def encode(table: Table) -> bytes:
    """Raises TypeError for what is no table, ValueError for infinity, which JSON cannot say."""
    if isinstance(table, pd.DataFrame):
        columns = [_values(table.iloc[:, position]) for position in range(table.shape[1])]
        names = [str(name) for name in table.columns]
        return _encoded({"columns": names, "data": list(zip(*columns, strict=True))})
    if isinstance(table, np.ndarray):
        if table.ndim != 2:
            raise TypeError(
                f"an array of shape {table.shape} is no table: give rows, of shape (rows, columns)"
            )
        _refuse_infinity(table)
        return _encoded(table.tolist())
    if isinstance(table, str | bytes | Mapping) or not isinstance(table, Sequence):
        raise TypeError(
            f"{type(table).__name__} is no table: give a DataFrame, a list of records, or a list of rows"
        )
    return _encoded(table)


def decode(values: list[Any], table: Table, name: str | None) -> Any:
    """One entry a row: with the table's index where it has one. Missing numbers are NaN."""
    index = table.index if isinstance(table, pd.DataFrame) else None
    if values and isinstance(values[0], list):
        frame = pd.DataFrame(values, index=index)
        return frame if index is not None else frame.to_numpy()
    series = pd.Series(values, index=index, name=name)
    return series if index is not None else series.to_numpy()


def _values(column: pd.Series) -> list[Any]:
    _refuse_infinity(column.to_numpy(), column.name)
    if column.dtype.kind in "biuf":
        return column.tolist()
    return [None if missing else value for value, missing in zip(column, column.isna(), strict=True)]


def _refuse_infinity(values: npt.NDArray[Any], name: object = "the array") -> None:
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise ValueError(
            f"{name} holds infinity, which a request cannot: replace it, or leave it missing (NaN)"
        )


def _encoded(document: Any) -> bytes:
    return msgspec.json.encode(document, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} cannot be sent: give numbers, strings, true or false")
