"""Which models, and results of their loads, are other objects than in the world before."""

from __future__ import annotations

from collections.abc import Mapping

from tenantry_core.resources import TenantModel
from tenantry_operator.planning.shards import Shards, differing
from tenantry_operator.planning.world import CheckResult

Change = tuple[TenantModel | None, TenantModel | None]
"""A model as it was and as it is; None: it was not there, or is not any more."""


class Changes:
    def __init__(self) -> None:
        self.models: dict[str, TenantModel] = {}
        """Those that are not being deleted, by key."""
        self._seen: Mapping[str, TenantModel] = Shards()
        self._results: Mapping[str, tuple[CheckResult, ...]] = {}

    def of_models(self, models: Mapping[str, TenantModel]) -> dict[str, Change]:
        """Takes the models as they are now; gives those that have changed, by key."""
        changed = {}
        for key in differing(self._seen, models):
            old, new = self.models.pop(key, None), models.get(key)
            if new is not None and not new.metadata.deletion_timestamp:
                self.models[key] = new
            else:
                new = None
            if old is not None or new is not None:
                changed[key] = old, new
        self._seen = models
        return changed

    def of_results(self, results: Mapping[str, tuple[CheckResult, ...]]) -> set[str]:
        """Takes the results by uid; gives the keys of the models that have other ones."""
        known, self._results = self._results, results
        return {(results.get(uid) or known[uid])[0].check.model for uid in differing(known, results)}
