"""Statuses that differ from what is there, and what is news in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from types import MappingProxyType

from tenantry_core.resources import TenantModel, TenantModelStatus
from tenantry_operator.planning.events import model_events
from tenantry_operator.planning.first import First
from tenantry_operator.planning.plan import Event


class Untold(Mapping[str, TenantModelStatus]):
    """By model key, those that tell of a failure first.

    It may be asked in another thread than the one that fills it: who sees a status sees its news too.
    """

    def __init__(self) -> None:
        self._failed: dict[str, TenantModelStatus] = {}
        self._others: dict[str, TenantModelStatus | First] = {}
        self._news: dict[str, tuple[Event, ...]] = {}
        self.events = MappingProxyType(self._news)

    def __getitem__(self, key: str) -> TenantModelStatus:
        status = self._failed.get(key) or self._others[key]
        return status.status() if isinstance(status, First) else status

    def __iter__(self) -> Iterator[str]:
        return chain(self._failed, self._others)

    def __len__(self) -> int:
        return len(self._failed) + len(self._others)

    def put(self, model: TenantModel, status: TenantModelStatus) -> None:
        """What the model's status should be by now."""
        self.drop(model.key)
        if status == model.status:
            return
        news = tuple(model_events(model, status))
        if news:
            self._news[model.key] = news
        failed = any(condition.status == "False" for condition in status.conditions)
        (self._failed if failed else self._others)[model.key] = status

    def put_first(self, firsts: Mapping[str, First]) -> None:
        """Models without a status are to have one, which tells of no failure and is no news."""
        self._others |= firsts

    def drop(self, key: str) -> None:
        for told in (self._failed, self._others, self._news):
            told.pop(key, None)
