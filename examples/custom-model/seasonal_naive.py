"""The seasonal-naive forecast: the sales of a store in a week are those of the same week a season ago.

A file of this format is JSON: for each store its sales of one season, a number a week.

    {"north": [12.0, 15.5, 9.0, 11.0], "south": [40.0, 38.0, 41.5, 39.0]}
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from tenantry_predictor.runtimes import Model


class SeasonalNaive(Model):
    """Sales by store and week."""

    thread_safe = True  # nothing changes once the file is read

    def __init__(self, path: Path) -> None:
        """Reads the whole file: it may leave the disk while the model is warm."""
        seasons: dict[str, list[float]] = json.loads(path.read_text())
        self._seasons = {store: np.array(sales, dtype=np.float64) for store, sales in seasons.items()}
        if not self._seasons or any(not len(sales) for sales in self._seasons.values()):
            raise ValueError("a season has at least one week, and there is at least one store")

    @property
    def sample(self) -> pd.DataFrame:
        """A row that it answers. It tells the names and the types of the columns, too."""
        return pd.DataFrame({"store": [next(iter(self._seasons))], "week": [0]})

    def predict(self, data: pd.DataFrame) -> np.ndarray:
        """One forecast a row. A ValueError is told to the caller, as 422."""
        unknown = set(data["store"]) - self._seasons.keys()
        if unknown:
            raise ValueError(f"there is no store {min(unknown)!r}")
        return np.array(
            [self._forecast(store, week) for store, week in zip(data["store"], data["week"], strict=True)]
        )

    def _forecast(self, store: str, week: int) -> float:
        season = self._seasons[store]
        return float(season[week % len(season)])
