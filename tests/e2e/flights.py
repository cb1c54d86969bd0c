"""The tour's models in memory: what to ask each tenant, and what the answer must be."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from sklearn.base import clone

from load.target import post
from tenantry.demo_models import Trained, flights, train

_RELATIVE, _ABSOLUTE = 1e-3, 1e-2
"""How far an answer in minutes may be from the model in memory; single precision stays far below."""


@dataclass
class Tenant:
    """A tenant, one request, and the answers that are right for it: one for each version that may serve."""

    trained: Trained
    answers: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.trained.tenant

    @property
    def body(self) -> bytes:
        return self.trained.rows.head(1).to_json(orient="records", double_precision=15).encode()

    @property
    def request(self) -> bytes:
        return post(f"/predict/{self.name}", self.body, host="tenantry")

    def is_right(self, body: bytes) -> bool:
        """Whether one of the versions would have answered this."""
        try:
            [got] = json.loads(body)
        except ValueError:
            return False
        return any(_alike(got, answer) for answer in self.answers)

    def retrained(self) -> Trained:
        """Another version: an estimator of the same kind that has seen a few flights only."""
        rows = self.trained.rows
        labels = np.array(["late", "on time"])[np.arange(len(rows)) % 2]
        minutes = np.arange(len(rows), dtype=float)
        answer = labels if self.trained.kind == "logistic" else minutes
        model = clone(self.trained.model).fit(rows, answer)
        return Trained(self.name, self.trained.kind, model, rows)


def answer_of(trained: Trained) -> Any:
    """What the model in memory says to the tenant's request."""
    return trained.model.predict(trained.rows.head(1)).tolist()[0]


def train_tenants(count: int) -> Sequence[Tenant]:
    """The same models as the tour publishes: training is deterministic."""
    return [Tenant(trained, [answer_of(trained)]) for trained in islice(train(flights()), count)]


def _alike(got: object, wanted: object) -> bool:
    if isinstance(got, int | float) and isinstance(wanted, float):
        return math.isclose(got, wanted, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return got == wanted
