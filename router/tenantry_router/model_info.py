"""Which model answers: by who is asking, or by the name that they give."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from tenantry_core.problems import Problem
from tenantry_router.identity import Caller
from tenantry_router.model import RoutedModel
from tenantry_router.table import Table, Tenant


class Assignment(NamedTuple):
    """The model that answers for a user."""

    model: RoutedModel
    because: str
    """What says so, for people."""
    until: float = math.inf
    """In `time.monotonic`'s time: it holds so long, or until the table changes."""


class ModelInfoRepository(Protocol):
    """Knows which model serves which user.

    Both calls raise Problem: 404 for an unknown tenant or user, 409 when several models could answer.
    """

    def model_for(self, tenant: str, user: str | None) -> Assignment | None:
        """What is known now of `user` (None: the tenant as a whole); None: `look_up` has to tell.

        Must not block.
        """
        ...

    async def look_up(self, tenant: str, user: str | None) -> Assignment:
        """What `model_for` would tell if it knew. Raises Problem 503 while it cannot be known."""
        ...

    async def close(self) -> None:
        """Let go of what it holds open."""
        ...


class TableModelInfoRepository:
    """Follows `spec.users` of the TenantModels: exact id, longest prefix, then the model for everyone."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def model_for(self, tenant: str, user: str | None) -> Assignment:
        known = tenant_of(self._table, tenant)
        claimed = known.model_for(user) if user is not None else None
        if claimed is None or user is None:
            return Assignment(
                _model_for_everyone(known, tenant, user), "it answers for every user of the tenant"
            )
        return Assignment(claimed, _why(claimed, user))

    async def look_up(self, tenant: str, user: str | None) -> Assignment:
        return self.model_for(tenant, user)

    async def close(self) -> None:
        """Nothing is open."""


def tenant_of(table: Table, name: str) -> Tenant:
    """Raises Problem 404."""
    known = table.tenants.get(name)
    if known is None:
        raise Problem(404, f"There is no tenant {name!r} with a model.", reason="UnknownTenant")
    return known


def _why(claimant: RoutedModel, user: str) -> str:
    users = claimant.entry.users
    if user in users.ids:
        return f"users.ids names {user!r}"
    prefix = max((prefix for prefix in users.prefixes if user.startswith(prefix)), key=len)
    return f"users.prefixes has {prefix!r}, the longest that fits"


def _model_for_everyone(known: Tenant, tenant: str, user: str | None) -> RoutedModel:
    """The tenant's only unfiltered model, or the one named like the tenant. Raises Problem 404 or 409."""
    models = known.unfiltered
    if len(models) == 1:
        return next(iter(models.values()))
    if not models:
        whom = (
            f"user {user!r} of tenant {tenant!r}"
            if user is not None
            else f"tenant {tenant!r} without a user id"
        )
        raise Problem(404, f"No model answers for {whom}.", reason="UnknownUser")
    named = [model for model in models.values() if model.name == tenant]
    if len(named) == 1:
        return named[0]
    raise Problem(
        409,
        f"Several models could answer for tenant {tenant!r}: {_listed(models)}. "
        "Ask for one by name at /v2/models/{model}/infer, or give all but one of them users.",
        reason="Ambiguous",
    )


class ModelNames:
    """How callers name models: the resource's name where that is unique for them, else `namespace.name`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def find(self, name: str, caller: Caller) -> RoutedModel:
        """Raises Problem: 404 unknown, 403 another tenant's, 409 when the short name means several."""
        named = self._table.names.get(name) or {}
        model = self._table.models.get(name)
        every = [*named.values(), *([model] if model else [])]
        if not every:
            raise Problem(404, f"There is no model {name!r}.", reason="UnknownModel")
        visible = {m.key: m for m in every if caller.tenant in (None, m.tenant)}
        if not visible:
            raise Problem(
                403,
                f"Model {name!r} is not one of tenant {caller.tenant!r}. "
                "(Tenantry-User is written as tenant:user where there is no Tenantry-Tenant.)",
                reason="AnotherTenants",
            )
        if len(visible) > 1:
            raise Problem(
                409, f"{name!r} is the name of several models; say {_listed(visible)}.", reason="Ambiguous"
            )
        return next(iter(visible.values()))

    def shown(self, model: RoutedModel, caller: Caller) -> str:
        """The name that this caller would use."""
        namesakes = self._table.names[model.name].values()
        unique = sum(caller.tenant in (None, other.tenant) for other in namesakes) == 1
        return model.name if unique else model.key

    def visible(self, caller: Caller) -> list[RoutedModel]:
        """What this caller may see, sorted by key."""
        if caller.tenant is None:
            return sorted(self._table.models.values(), key=lambda m: m.key)
        tenant = self._table.tenants.get(caller.tenant)
        return sorted(tenant.models.values(), key=lambda m: m.key) if tenant else []


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(sorted(keys))
