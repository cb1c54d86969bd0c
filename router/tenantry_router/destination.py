"""Where a request goes, as far as the table and who asks decide it: model, version, order of slots."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from tenantry_core.hashing import hash_user
from tenantry_core.problems import Problem
from tenantry_core.slices import Unavailable
from tenantry_router.identity import Caller, caller, decode_segment
from tenantry_router.load_times import LoadTimes
from tenantry_router.model import VERSION_DIGITS, RoutedModel, RoutedTarget
from tenantry_router.model_info import Assignment, ModelInfoRepository
from tenantry_router.table import Table

_REMEMBERED = 16384
"""Destinations; each takes about half a kilobyte."""
_NOT_PLACED = Unavailable("NotPlaced", "it is not placed on any slot.")


class Destination:
    """One version of a model for one user; what is in here holds as long as the table does not change."""

    __slots__ = ("at_once", "fields", "key", "model", "order", "target", "until")

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
        self.at_once: set[str] = set() if target.per_user else target.at_once
        """Slots that answer it at once, by their last answers: requests to them may share a connection."""
        self.fields = target.fields(user)
        """Header lines that tell a predictor what to load."""
        self.until = math.inf
        """In `time.monotonic`'s time: from then on another model may answer for the user."""


class Destinations:
    """Finds destinations; those of users are remembered until the table changes or their time is up."""

    def __init__(self, table: Table, models: ModelInfoRepository, load_times: LoadTimes) -> None:
        self._table = table
        self._models = models
        self._load_times = load_times
        self._remembered: dict[tuple[bytes | None, bytes], Destination] = {}
        self._generation = -1

    def of_user(self, tenant: bytes | None, segment: bytes, now: float) -> Destination | None:
        """For a value of `Tenantry-Tenant` and a user id as it stands in the path; None: see `look_up`.

        Raises Problem: 400 malformed, 404 unknown, 409 ambiguous, 503 without a version that could answer.
        """
        if self._table.generation != self._generation or len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
            self._generation = self._table.generation
        known = self._remembered.get((tenant, segment))
        if known is not None and known.until > now:
            return known
        who = _caller(tenant, segment)
        assert who.tenant is not None
        assignment = self._models.model_for(who.tenant, who.user)
        if assignment is None:
            return None
        found = self._of_assignment(assignment, who)
        if found.order is not None or len(found.model.targets) == 1:  # else the next one draws again
            self._remembered[tenant, segment] = found
        return found

    async def look_up(self, tenant: bytes | None, segment: bytes) -> Destination:
        """What `of_user` would tell if the repository knew the user. Raises Problem as it does."""
        who = _caller(tenant, segment)
        assert who.tenant is not None
        return self._of_assignment(await self._models.look_up(who.tenant, who.user), who)

    def of_model(self, model: RoutedModel, user: str | None, version: str | None = None) -> Destination:
        """Raises Problem as `target` does, and 400 for a model per user without a user."""
        return Destination(model, self.target(model, user, version), user)

    def _of_assignment(self, assignment: Assignment, who: Caller) -> Destination:
        found = self.of_model(assignment.model, who.user)
        found.until = assignment.until
        return found

    def target(self, model: RoutedModel, user: str | None, version: str | None = None) -> RoutedTarget:
        """The version that answers: the one asked for, else the user's by hash, else any by weight.

        Raises Problem: 503 for a model that serves nothing yet, 404 for a version that it does not serve.
        """
        if not model.targets:
            unavailable = model.entry.unavailable or _NOT_PLACED
            raise Problem(
                503,
                f"Model {model.key} cannot answer: {unavailable.message}",
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


def _caller(tenant: bytes | None, segment: bytes) -> Caller:
    """The caller that a path names: at least a tenant. Raises Problem 400."""
    return caller(tenant, decode_segment(segment))


def user_missing(model: RoutedModel) -> Problem:
    return Problem(
        400,
        f"Model {model.key} is one model per user: say which by the header Tenantry-User "
        "or by parameters.user_id.",
        reason="UserMissing",
    )
