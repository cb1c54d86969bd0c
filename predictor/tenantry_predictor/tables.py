"""Bodies of `/predict`: records, rows, columns and split -> the model's input arrays.

Stricter than a DataFrame, which pads ragged tables and reads numbers out of strings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from tenantry_core.problems import Problem
from tenantry_core.values import AnyArray, ValueMismatch, parse_json, quote, to_array, to_json
from tenantry_core.wire import Tensor
from tenantry_predictor.free_tables import read_free_table

Row = Sequence[Any]

_NAMES_SHOWN = 10


class TableReader:
    """How one model takes tables: as one [N,k] input, or as one [N,1] input a column."""

    __slots__ = ("__weakref__", "_columns", "_expected", "_inputs", "_pick", "_width")

    def __init__(self, inputs: Sequence[Tensor], columns: Sequence[str]) -> None:
        """Several inputs without column names are columns named like the inputs; no inputs take any table."""
        self._inputs = tuple(inputs)
        self._columns = tuple(columns) or (tuple(t.name for t in inputs) if len(inputs) > 1 else ())
        self._expected = frozenset(self._columns)
        self._width = len(self._columns) or (_width(inputs[0]) if inputs else -1)
        self._pick = _picker(self._columns)

    def read(self, body: bytes) -> dict[str, AnyArray]:
        """Arrays by input. Raises Problem: 400 for malformed JSON, 422 that names the row and the column."""
        if not _takes_tables(self._inputs):
            raise _misfit("This model takes tensors, not tables: use /v2/models/MODEL/infer.")
        document = parse_json(body)
        if not self._inputs:
            return read_free_table(document)
        if type(document) is list:
            rows = self._from_list(document)
        elif type(document) is dict:
            rows = self._from_object(document)
        else:
            raise _misfit(f"A table is expected, a JSON list or object, not {quote(document)}.")
        if not rows:
            raise _misfit("The table has no rows.")
        return self._arrays(rows)

    # The four forms -> rows in the model's order of columns

    def _from_list(self, document: list[Any]) -> Sequence[Row]:
        if document and type(document[0]) is dict:
            return self._from_records(document)
        return self._from_rows(document)

    def _from_records(self, records: list[Any]) -> Sequence[Row]:
        if not self._columns:
            raise _misfit("This model has no column names: send a list of rows, each a list of values.")
        width = self._width
        try:
            rows = [self._pick(record) for record in records]
            fits = set(map(len, records)) == {width}
        except (KeyError, TypeError, IndexError):
            fits = False
        if not fits:
            raise self._record_problem(records)
        return rows

    def _from_rows(self, rows: list[Any]) -> Sequence[Row]:
        if not rows:
            return rows
        width = self._width if self._width != -1 else len(rows[0]) if type(rows[0]) is list else 0
        for index, row in enumerate(rows):
            if type(row) is not list:
                raise _misfit(f"Row {index} is {quote(row)}, not a list of values.")
            if len(row) != width:
                named = f" ({_some(self._columns)})" if self._columns else ""
                raise _misfit(f"Row {index} has {len(row)} values, expected {width}{named}.")
        return rows

    def _from_object(self, document: dict[str, Any]) -> Sequence[Row]:
        if not self._columns:
            raise _misfit("This model has no column names: send a list of rows, each a list of values.")
        if _is_split(document):
            return self._from_split(document)
        self._check_names(document, "The table")
        lists = [document[name] for name in self._columns]
        for name, values in zip(self._columns, lists, strict=True):
            if type(values) is not list:
                hint = "an object of columns has a list a column; a single record goes into a list"
                raise _misfit(f"Column {name!r} is {quote(values)}, not a list: {hint}.")
            if len(values) != len(lists[0]):
                first = self._columns[0]
                raise _misfit(f"Column {name!r} has {len(values)} values, but {first!r} has {len(lists[0])}.")
        return list(zip(*lists, strict=True))

    def _from_split(self, document: dict[str, Any]) -> Sequence[Row]:
        names: list[str] = document["columns"]
        for name in document:
            if name not in ("columns", "data", "index"):
                raise _misfit(f"A split table has `columns` and `data`, but no {name!r}.")
        if len(set(names)) != len(names):
            raise _misfit("A column is named twice.")
        self._check_names(names, "The table")
        for index, row in enumerate(document["data"]):
            if len(row) != len(names):
                raise _misfit(f"Row {index} has {len(row)} values, but there are {len(names)} columns.")
        order = [names.index(name) for name in self._columns]
        return [[row[position] for position in order] for row in document["data"]]

    # Rows -> arrays

    def _arrays(self, rows: Sequence[Row]) -> dict[str, AnyArray]:
        if len(self._inputs) == 1:
            [tensor] = self._inputs
            values = list(chain.from_iterable(rows))
            array = self._array(values, tensor, lambda index: divmod(index, len(rows[0])))
            return {tensor.name: array.reshape(len(rows), -1) if len(tensor.shape) == 2 else array}
        return {
            tensor.name: self._column([row[position] for row in rows], tensor, position)
            for position, tensor in enumerate(self._inputs)
        }

    def _column(self, values: list[Any], tensor: Tensor, position: int) -> AnyArray:
        array = self._array(values, tensor, lambda index: (index, position))
        return array.reshape(-1, 1) if len(tensor.shape) == 2 else array

    def _array(self, values: list[Any], tensor: Tensor, place: Callable[[int], tuple[int, int]]) -> AnyArray:
        try:
            return to_array(values, tensor.datatype)
        except ValueMismatch as error:
            row, position = place(error.index)
            column = repr(self._columns[position]) if self._columns else str(position)
            raise _misfit(f"Row {row}, column {column}: {error}.") from error

    # What is wrong

    def _record_problem(self, records: list[Any]) -> Problem:
        for index, record in enumerate(records):
            if type(record) is not dict:
                return _misfit(f"Row {index} is {quote(record)}, not a record like the first.")
            if record.keys() != self._expected:
                return self._name_problem(record, f"Row {index}")
        raise AssertionError("one of the records did not fit")

    def _check_names(self, names: Collection[str], what: str) -> None:
        if self._expected != set(names):
            raise self._name_problem(names, what)

    def _name_problem(self, names: Collection[str], what: str) -> Problem:
        for name in self._columns:
            if name not in names:
                return _misfit(f"{what} lacks the column {name!r}.")
        unknown = next(name for name in names if name not in self._expected)
        known = _some(self._columns)
        return _misfit(f"{what} has a column {unknown!r} that the model does not know; it takes {known}.")


_readers: WeakValueDictionary[tuple[tuple[Tensor, ...], tuple[str, ...]], TableReader] = WeakValueDictionary()


def table_reader(inputs: tuple[Tensor, ...], columns: tuple[str, ...]) -> TableReader:
    """One for all models that take the same table."""
    reader = _readers.get((inputs, columns))
    if reader is None:
        reader = _readers[inputs, columns] = TableReader(inputs, columns)
    return reader


def encode_predictions(array: AnyArray) -> bytes:
    """The JSON list that `/predict` answers: (N,1) is flattened, non-finite numbers are null."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array.reshape(-1)
    return msgspec.json.encode(to_json(array))


def _takes_tables(inputs: Sequence[Tensor]) -> bool:
    if len(inputs) == 1:
        return len(inputs[0].shape) in (1, 2)
    return all(len(t.shape) == 1 or (len(t.shape) == 2 and t.shape[1] in (1, -1)) for t in inputs)


def _width(tensor: Tensor) -> int:
    """Values a row; -1 when any number will do."""
    return tensor.shape[1] if len(tensor.shape) == 2 else 1


def _picker(columns: tuple[str, ...]) -> Callable[[Any], Row]:
    if len(columns) == 1:
        [column] = columns
        return lambda record: (record[column],)
    return itemgetter(*columns) if columns else tuple


def _is_split(document: dict[str, Any]) -> bool:
    """`columns` is a list of strings and `data` a list of rows; a model may have columns of these names."""
    names, data = document.get("columns"), document.get("data")
    return (
        type(names) is list
        and type(data) is list
        and all(type(name) is str for name in names)
        and all(type(row) is list for row in data)
    )


def _some(names: Sequence[str]) -> str:
    """As many names as fit into a sentence."""
    shown = ", ".join(map(repr, names[:_NAMES_SHOWN]))
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def _misfit(message: str) -> Problem:
    return Problem(422, message, reason="InputMismatch")
