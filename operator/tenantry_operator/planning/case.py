"""One model with everything that its plan depends on."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tenantry_core.artifacts import USER_PLACEHOLDER
from tenantry_core.resources import ActiveVersion, Condition, TenantModel
from tenantry_core.slices import Entry, Reference
from tenantry_operator.planning.claims import Claim, Refusal
from tenantry_operator.planning.fleet import Fleet
from tenantry_operator.planning.loads import Loads
from tenantry_operator.planning.world import SLOT_UNREACHABLE, Check, CheckFailure, CheckResult, Instance


class Case(msgspec.Struct, frozen=True, eq=False):
    model: TenantModel
    wanted: Reference
    """What the spec asks for; without a digest where that is not known before a slot has looked."""
    claim: Claim
    entry: Entry | None
    """What is written for this very object; an entry of another uid is none."""
    barred: Refusal | None
    """Why the version that is routed may not be served any more."""
    pool: str
    """Where it is to serve: the spec's pool, or, while the spec is refused, the one that it serves on."""
    desired: tuple[str, ...]
    """The slots it should be on in the end."""
    fleet: Fleet
    loads: Loads
    now: float

    @property
    def per_user(self) -> bool:
        return is_per_user(self.wanted)

    @property
    def before(self) -> Condition | None:
        """The Ready condition as it was told, if it judged this generation."""
        condition = self.model.status.condition("Ready")
        current = condition and condition.observed_generation == self.model.metadata.generation
        return condition if current else None

    def check(self, slot: str, instance: Instance, reference: Reference, *, verify: bool = False) -> Check:
        """The load of this version on one instance, for the spec as it is now."""
        model = self.model
        return Check(
            model=model.key,
            uid=model.metadata.uid,
            generation=model.metadata.generation,
            refresh=model.refresh,
            slot=slot,
            instance=instance.id,
            reference=reference,
            tenant=model.tenant,
            pinned=model.spec.residency == "Pinned" and not verify,
            verify=verify,
            probe_user=model.spec.artifact.probe_user if is_per_user(reference) else "",
        )

    def checks_on(self, slots: Iterable[str], reference: Reference, *, verify: bool = False) -> list[Check]:
        """The same load on every ready instance of these slots."""
        return [
            self.check(slot, instance, reference, verify=verify)
            for slot in slots
            for instance in self.fleet.ready_instances(slot)
        ]

    def results(self, reference: Reference) -> list[CheckResult]:
        """What loading exactly this reference came to, oldest first."""
        return [r for r in self.loads.results if r.check.reference == reference]

    def is_current(self, result: CheckResult) -> bool:
        """Was it asked for the spec and the refresh annotation as they are now?"""
        check, model = result.check, self.model
        return check.generation == model.metadata.generation and check.refresh == model.refresh

    def verdict(self, reference: Reference) -> CheckFailure | None:
        """The last failure to load it that judges the artifact, for the present spec."""
        return _last_failure(self, reference, transient=False)

    def setback(self, reference: Reference) -> CheckFailure | None:
        """The last failure that only says that a slot or the store did not answer."""
        return _last_failure(self, reference, transient=True)


def is_per_user(reference: Reference) -> bool:
    return USER_PLACEHOLDER in reference.uri


def active_reference(active: ActiveVersion) -> Reference:
    return Reference(active.uri, active.format, active.sha256)


def _last_failure(case: Case, reference: Reference, *, transient: bool) -> CheckFailure | None:
    for result in reversed(case.results(reference)) if case.loads.results else ():
        failure = result.outcome
        if not isinstance(failure, CheckFailure) or failure.reason == SLOT_UNREACHABLE:
            continue  # another slot is asked: that is nothing to tell a model's owner
        if failure.transient == transient and case.is_current(result):
            return failure
    return None
