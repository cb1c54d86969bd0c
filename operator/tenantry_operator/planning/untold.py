"""Statuses that differ from what is there, and what is news in them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from tenantry_core.resources import TenantModel, TenantModelStatus
from tenantry_operator.planning.events import model_events
from tenantry_operator.planning.plan import Event


class Untold:
    def __init__(self) -> None:
        self._failed: dict[str, TenantModelStatus] = {}
        self._others: dict[str, TenantModelStatus] = {}
        self._news: dict[str, tuple[Event, ...]] = {}

    def put(self, model: TenantModel, status: TenantModelStatus) -> None:
        """What the model's status should be by now."""
        self.drop(model.key)
        if status == model.status:
            return
        failed = any(condition.status == "False" for condition in status.conditions)
        (self._failed if failed else self._others)[model.key] = status
        news = tuple(model_events(model, status))
        if news:
            self._news[model.key] = news

    def drop(self, key: str) -> None:
        for told in (self._failed, self._others, self._news):
            told.pop(key, None)

    def statuses(self) -> Mapping[str, TenantModelStatus]:
        """By model key, those that tell of a failure first."""
        return self._failed | self._others

    def events(self) -> tuple[Event, ...]:
        return tuple(chain.from_iterable(self._news.values()))
