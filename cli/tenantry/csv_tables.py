"""Tables in CSV files: a row that is too short is a mistake, as it is for the router; pandas would pad it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def read_csv(path: Path) -> pd.DataFrame:
    """A table with a line of headings. Raises OSError, and ValueError with a sentence for what is none."""
    import pandas as pd  # half a second that only a CSV file is worth

    try:
        _check_widths(path)
    except csv.Error as error:
        raise ValueError(f"the CSV is malformed: {error}") from error
    return pd.read_csv(path)


def _check_widths(path: Path) -> None:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        headings = next(lines, [])
        if not headings:
            raise ValueError("its first line names no columns")
        for cells in lines:
            if cells and len(cells) != len(headings):
                raise ValueError(
                    f"line {lines.line_num} has {len(cells)} values, but the headings are {len(headings)}"
                )
