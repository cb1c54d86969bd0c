"""The first decision about a model of which nothing is known but its spec.

What `deciding` comes to for such a model is always the same: the version is routed at once to the slots where
it should be, any of them is to look at it, and its status says so. At a first start there are thousands of
these, so the entry is made directly, and the rest is worked out in the common way when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tenantry_core.artifacts import USER_PLACEHOLDER
from tenantry_core.resources import TenantModel, TenantModelStatus
from tenantry_core.slices import Entry, Target
from tenantry_operator.planning.case import Case
from tenantry_operator.planning.claims import GRANTED, wanted_reference
from tenantry_operator.planning.fleet import Fleet
from tenantry_operator.planning.loads import Loads
from tenantry_operator.planning.statuses import model_status
from tenantry_operator.planning.versions import Outcome, decide

_NOTHING_TOLD = TenantModelStatus()


def is_first(model: TenantModel) -> bool:
    """Has it no status yet, and a digest that says what to serve?

    That nothing is written, refused or tried is for the caller to know.
    """
    spec = model.spec
    return (
        model.status == _NOTHING_TOLD
        and bool(spec.artifact.sha256)
        and USER_PLACEHOLDER not in spec.artifact.uri
        and spec.residency == "OnDemand"
    )


class Given(msgspec.Struct, frozen=True, eq=False):
    """What a plan decides all of them by."""

    fleet: Fleet
    now: float
    router_url: str


class First(msgspec.Struct, frozen=True, eq=False):
    """Stands for a Decision, which it makes when something of it is asked for."""

    model: TenantModel
    desired: tuple[str, ...]
    """The slots it should be on; it is routed to all of them."""
    given: Given

    @property
    def slots(self) -> frozenset[str]:
        return frozenset((self.model.spec.pool_ref.name, *self.desired))

    @property
    def case(self) -> Case:
        return self._decide()[0]

    @property
    def outcome(self) -> Outcome:
        return self._decide()[1]

    def status(self) -> TenantModelStatus:
        return model_status(*self._decide(), self.given.router_url)

    def _decide(self) -> tuple[Case, Outcome]:
        case = Case(
            model=self.model,
            wanted=wanted_reference(self.model),
            claim=GRANTED,
            entry=None,
            barred=None,
            pool=self.model.spec.pool_ref.name,
            desired=self.desired,
            fleet=self.given.fleet,
            loads=Loads(),
            now=self.given.now,
        )
        return case, decide(case)


def first_entries(firsts: Mapping[str, First], revision: int) -> dict[str, Entry]:
    """What routers are told, by model key."""
    entries = {}
    for key, first in firsts.items():
        model = first.model
        metadata, spec = model.metadata, model.spec
        targets = (Target(wanted_reference(model), first.desired),)
        entries[key] = Entry(
            key,
            metadata.uid,
            metadata.creation_timestamp,
            revision,
            model.tenant,
            spec.pool_ref.name,
            spec.users,
            spec.traffic,
            targets,
        )
    return entries
