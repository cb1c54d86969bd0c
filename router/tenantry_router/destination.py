"""Where a request goes, as far as the table and who asks decide it: model, version, order of slots."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tenantry_core.hashing import hash_user
from tenantry_core.problems import Problem
from tenantry_core.slices import Unavailable
from tenantry_router.identity import caller, decode_segment
from tenantry_router.load_times import LoadTimes
from tenantry_router.model import VERSION_DIGITS, RoutedModel, RoutedTarget
from tenantry_router.model_info import ModelInfoRepository
from tenantry_router.table import Table

_REMEMBERED = 16384
"""Destinations; each takes about half a kilobyte."""
_NOT_PLACED = Unavailable("NotPlaced", "it is not placed on any slot.")


class Destination:
    """One version of a model for one user; what is in here holds as long as the table does not change."""

    __slots__ = ("fields", "key", "model", "order", "target")

    def __init__(self, model: RoutedModel, target: RoutedTarget, user: str | None) -> None:
        """Raises Problem 400 when the model is one per user and there is none."""
        if user is None and target.per_user:
            raise user_missing(model)
        self.model = model
        self.target = target
        self.key = model.hash if user is None else hash_user(model.tenant, user)
        """Ranks slots beyond the placement."""
        self.order: Sequence[str] | None = None if user is None else target.ranking.order(self.key)
        """The placement in the user's order; None without a user."""
        self.fields = target.fields(user)
        """Header lines that tell a predictor what to load."""


class Destinations:
    """Finds destinations; those of users are remembered until the table or the repository changes."""

    def __init__(self, table: Table, models: ModelInfoRepository, load_times: LoadTimes) -> None:
        self._table = table
        self._models = models
        self._load_times = load_times
        self._remembered: dict[tuple[bytes | None, bytes], Destination] = {}
        self._generations = (-1, -1)

    def of_user(self, tenant: bytes | None, segment: bytes) -> Destination:
        """For a value of `Tenantry-Tenant` and a user id as it stands in the path.

        Raises Problem: 400 malformed, 404 unknown, 409 ambiguous, 503 without a version that could answer.
        """
        generations = (self._table.generation, self._models.generation)
        if generations != self._generations or len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
            self._generations = generations
        known = self._remembered.get((tenant, segment))
        if known is None:
            known = self._find(tenant, segment)
            if known.order is not None or len(known.model.targets) == 1:  # else the next one draws again
                self._remembered[tenant, segment] = known
        return known

    def of_model(self, model: RoutedModel, user: str | None, version: str | None = None) -> Destination:
        """Raises Problem as `target` does, and 400 for a model per user without a user."""
        return Destination(model, self.target(model, user, version), user)

    def _find(self, tenant: bytes | None, segment: bytes) -> Destination:
        who = caller(tenant, decode_segment(segment))
        assert who.tenant is not None  # the path names at least a tenant
        return self.of_model(self._table.models[self._models.model_for(who.tenant, who.user)], who.user)

    def target(self, model: RoutedModel, user: str | None, version: str | None = None) -> RoutedTarget:
        """The version that answers: the one asked for, else the user's by hash, else any by weight.

        Raises Problem: 503 for a model that serves nothing yet, 404 for a version that it does not serve.
        """
        if not model.targets:
            unavailable = model.entry.unavailable or _NOT_PLACED
            raise Problem(
                503,
                f"Model {model.key} cannot answer yet: {unavailable.message}",
                reason=unavailable.reason,
                retry_after=self._load_times.retry_after(),
            )
        if version is None:
            return model.target_for(random.getrandbits(64) if user is None else hash_user(model.tenant, user))
        target = model.target_of_version(version)
        if target is None:
            known = ", ".join(t.version for t in model.targets)
            raise Problem(
                404,
                f"Model {model.key} does not serve version {version!r}, only {known} "
                f"(give {VERSION_DIGITS} or more digits).",
                reason="UnknownVersion",
            )
        return target


def user_missing(model: RoutedModel) -> Problem:
    return Problem(
        400,
        f"Model {model.key} is one model per user: say which by the header Tenantry-User "
        "or by parameters.user_id.",
        reason="UserMissing",
    )
