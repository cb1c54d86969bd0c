"""Bodies of `/predict` for a model that names no columns: whatever table comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tenantry_core.problems import Problem
from tenantry_core.values import AnyArray, quote

_WIDEST_INT = 1 << 63


def read_free_table(document: Any) -> dict[str, AnyArray]:
    """One array a column: of numbers or of booleans where all values are, else of objects.

    Columns of plain rows are named by their position. Raises Problem (422).
    """
    if type(document) is dict:
        columns = _from_split(document) if _is_split(document) else document
    elif type(document) is list and document:
        columns = _from_records(document) if type(document[0]) is dict else _from_rows(document)
    else:
        raise _misfit(f"A table with a row is expected, a JSON list or object, not {quote(document)}.")
    lists = [values for values in columns.values() if type(values) is list]
    if len(lists) != len(columns) or not lists or len({len(values) for values in lists}) != 1 or not lists[0]:
        raise _misfit("A table has a list a column, all of one length, with a row at least.")
    return {name: _array(values) for name, values in columns.items()}


def _from_records(records: list[Any]) -> dict[str, list[Any]]:
    names = records[0].keys()
    for index, record in enumerate(records):
        if type(record) is not dict or record.keys() != names:
            raise _misfit(f"Row {index} is no record with the columns of the first.")
    return {name: [record[name] for record in records] for name in names}


def _from_rows(rows: list[Any]) -> dict[str, list[Any]]:
    for index, row in enumerate(rows):
        if type(row) is not list or len(row) != len(rows[0]):
            raise _misfit(f"Row {index} is no list of as many values as the first.")
    return {str(position): list(values) for position, values in enumerate(zip(*rows, strict=True))}


def _is_split(document: dict[str, Any]) -> bool:
    names, data = document.get("columns"), document.get("data")
    return type(names) is list and type(data) is list and all(type(row) is list for row in data)


def _from_split(document: dict[str, Any]) -> dict[str, list[Any]]:
    names, rows = document["columns"], document["data"]
    if any(type(name) is not str for name in names) or len(set(names)) != len(names):
        raise _misfit("`columns` is a list of names, each once.")
    for index, row in enumerate(rows):
        if len(row) != len(names):
            raise _misfit(f"Row {index} has {len(row)} values, but there are {len(names)} columns.")
    return {name: [row[position] for row in rows] for position, name in enumerate(names)}


def _array(values: Sequence[Any]) -> AnyArray:
    kinds = set(map(type, values))
    if kinds == {bool}:
        return np.array(values, dtype=np.bool_)
    if kinds == {int} and all(-_WIDEST_INT <= value < _WIDEST_INT for value in values):
        return np.array(values, dtype=np.int64)
    if kinds <= {int, float, type(None)}:
        return np.array(values, dtype=np.float64)
    objects = np.empty(len(values), dtype=np.object_)
    objects[:] = values
    return objects


def _misfit(message: str) -> Problem:
    return Problem(422, message, reason="InputMismatch")
