"""Claims kept up from one plan to the next: models only compete with others of their tenant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tenantry_core.resources import PredictorPool, TenantModel
from tenantry_operator.planning.claims import Claim, Labels, judge_claims


class ClaimBook:
    def __init__(self, pools: Mapping[str, PredictorPool], labels: Labels) -> None:
        self._pools = pools
        self._labels = labels
        self._tenants: dict[str, dict[str, TenantModel]] = {}
        self.claims: dict[str, Claim] = {}
        """By model key."""

    def update(self, changed: Iterable[tuple[TenantModel | None, TenantModel | None]]) -> set[str]:
        """Takes models as they were and as they are (None: not there); gives those with another claim."""
        tenants: set[str] = set()
        for old, new in changed:
            if old is not None and new is not None and _claims_the_same(old, new):
                self._tenants[new.tenant][new.key] = new
                continue
            if old is not None:
                tenants.add(old.tenant)
                del self._tenants[old.tenant][old.key]
                self.claims.pop(old.key, None)
            if new is not None:
                tenants.add(new.tenant)
                self._tenants.setdefault(new.tenant, {})[new.key] = new
        return {key for tenant in tenants for key in self._judge(tenant)}

    def _judge(self, tenant: str) -> list[str]:
        models = self._tenants[tenant]
        if not models:
            del self._tenants[tenant]
        claims = judge_claims(models, self._pools, self._labels)
        other = [key for key, claim in claims.items() if self.claims.get(key) != claim]
        self.claims |= claims
        return other


def _claims_the_same(old: TenantModel, new: TenantModel) -> bool:
    """Is all that a claim is judged by as it was? A written status alone changes none."""
    same = old.spec is new.spec or old.spec == new.spec
    return same and old.metadata.uid == new.metadata.uid
