"""Fitted estimators of many kinds, and rows to ask them about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

_rng = np.random.default_rng(7)
_COUNT = 300
FLIGHTS = pd.DataFrame(
    {
        "carrier": _rng.choice(["AA", "B6", "UA"], _COUNT),
        "air time": _rng.normal(180, 60, _COUNT),
        "hour": _rng.integers(0, 24, _COUNT).astype(float),
    }
)
NUMBERS = FLIGHTS[["air time", "hour"]]
DELAY = (
    FLIGHTS["hour"] * 2
    + FLIGHTS["air time"] * 0.1
    + (FLIGHTS["carrier"] == "AA") * 9
    + _rng.normal(size=_COUNT)
)
LATE = np.where(DELAY.median() < DELAY, "late", "on time")


def encoded(last: Any) -> Pipeline:
    """Strings one-hot, numbers scaled."""
    steps = ((OneHotEncoder(handle_unknown="ignore"), ["carrier"]), (StandardScaler(), ["hour", "air time"]))
    return make_pipeline(make_column_transformer(*steps), last)


def ordinal(last: Any) -> Pipeline:
    """Strings as numbers, the other columns as they are."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(make_column_transformer((encoder, ["carrier"]), remainder="passthrough"), last)


REGRESSORS: dict[str, Any] = {
    "linear": LinearRegression(),
    "ridge on squares": make_pipeline(PolynomialFeatures(2), Ridge()),
    "gradient boosting": GradientBoostingRegressor(n_estimators=30, random_state=0),
    "random forest": RandomForestRegressor(n_estimators=15, random_state=0),
    "extra trees": ExtraTreesRegressor(n_estimators=15, random_state=0),
    "decision tree": DecisionTreeRegressor(random_state=0),
    "voting": VotingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=4, random_state=0))]),
    "support vectors": make_pipeline(StandardScaler(), SVR()),
    "neighbours": KNeighborsRegressor(),
    "imputed ridge": make_pipeline(SimpleImputer(), StandardScaler(), Ridge()),
    "scaled tree": make_pipeline(StandardScaler(), DecisionTreeRegressor(random_state=0)),
}
CLASSIFIERS: dict[str, Any] = {
    "logistic": LogisticRegression(max_iter=500),
    "boosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
    "forest": RandomForestClassifier(n_estimators=15, random_state=0),
    "scaled boosting": make_pipeline(
        MinMaxScaler(), GradientBoostingClassifier(n_estimators=10, random_state=0)
    ),
    "machine": SVC(),
    "linear machine": LinearSVC(random_state=0),
    "neighbours": KNeighborsClassifier(),
    "bayes": GaussianNB(),
    "ada": AdaBoostClassifier(n_estimators=10, random_state=0),
}
WITH_STRINGS: dict[str, tuple[Any, Any]] = {
    "one-hot ridge": (encoded(Ridge()), DELAY),
    "one-hot logistic": (encoded(LogisticRegression(max_iter=500)), LATE),
    "one-hot boosting": (encoded(GradientBoostingRegressor(n_estimators=20, random_state=0)), DELAY),
    "ordinal forest": (ordinal(RandomForestRegressor(n_estimators=15, random_state=0)), DELAY),
    "ordinal tree": (ordinal(DecisionTreeClassifier(random_state=0)), LATE),
}
FITTED: dict[str, tuple[Any, pd.DataFrame]] = (
    {name: (model.fit(NUMBERS, DELAY), NUMBERS) for name, model in REGRESSORS.items()}
    | {f"{name} classifier": (model.fit(NUMBERS, LATE), NUMBERS) for name, model in CLASSIFIERS.items()}
    | {name: (model.fit(FLIGHTS, answer), FLIGHTS) for name, (model, answer) in WITH_STRINGS.items()}
)
