"""Claims kept up from one plan to the next: models only compete with others of their tenant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tenantry_core.resources import PredictorPool, TenantModel
from tenantry_operator.planning.changes import Change
from tenantry_operator.planning.claims import Claim, Labels, admission_rules, judge_claims


class ClaimBook:
    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}
        """By model key."""
        self._tenants: dict[str, dict[str, TenantModel]] = {}
        self._rules: dict[str, tuple[object, ...]] = {}
        """Of each pool, by name."""
        self._labels: Labels = {}

    def update(
        self, changed: Mapping[str, Change], pools: Mapping[str, PredictorPool], labels: Labels
    ) -> set[str]:
        """Takes models that have changed, and all pools and labels of namespaces as they are now.

        Gives the models with another claim, and those that are refused and may be refused otherwise.
        """
        affected = self._affected(pools, labels)
        tenants = {model.tenant for model in affected}
        for key, (old, new) in changed.items():
            if old is not None and new is not None and _claims_the_same(old, new):
                self._tenants[new.tenant][key] = new
                continue
            if old is not None:
                tenants.add(old.tenant)
                del self._tenants[old.tenant][key]
                self.claims.pop(key, None)
            if new is not None:
                tenant = new.tenant
                tenants.add(tenant)
                if tenant in self._tenants:
                    self._tenants[tenant][key] = new
                else:
                    self._tenants[tenant] = {key: new}
        other = self._judge(tenants, pools, labels)
        refused = {key for m in affected if (claim := self.claims.get(key := m.key)) and claim.refusal}
        return other | refused

    def _affected(self, pools: Mapping[str, PredictorPool], labels: Labels) -> list[TenantModel]:
        """Models whose pool admits by other rules now, or whose namespace is labelled otherwise."""
        rules = {name: admission_rules(pool) for name, pool in pools.items()}
        names = {n for n in rules.keys() | self._rules.keys() if rules.get(n) != self._rules.get(n)}
        namespaces = set()
        if any(pool.spec.namespace_selector is not None for pool in pools.values()):
            known = self._labels
            namespaces = {n for n in labels.keys() | known.keys() if labels.get(n) != known.get(n)}
        self._rules, self._labels = rules, labels
        if not names and not namespaces:
            return []
        return [
            model
            for models in self._tenants.values()
            for model in models.values()
            if model.metadata.namespace in namespaces
            or model.spec.pool_ref.name in names
            or (names and self.claims[model.key].refusal is not None)  # it may serve on another pool
        ]

    def _judge(self, tenants: Iterable[str], pools: Mapping[str, PredictorPool], labels: Labels) -> set[str]:
        """Judges all models of these tenants; gives those with another claim."""
        other = set()
        known = self.claims
        for tenant in tenants:
            models = self._tenants[tenant]
            if not models:
                del self._tenants[tenant]
            for key, claim in judge_claims(models, pools, labels).items():
                if known.get(key) != claim:
                    other.add(key)
                known[key] = claim
        return other


def _claims_the_same(old: TenantModel, new: TenantModel) -> bool:
    """Is all that a claim is judged by as it was? A written status alone changes none."""
    same = old.spec is new.spec or old.spec == new.spec
    return same and old.metadata.uid == new.metadata.uid
