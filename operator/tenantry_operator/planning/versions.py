"""Which version of a model serves: the way from what is routed to what its spec asks for.

Two tracks, decided anew from levels each time. What is routed: is it known to be good? A version that was
never judged is verified in the background; one that fails loses its targets. What is wanted: where it is
not what is routed, it is resolved to a digest, loaded on all its slots, and only then routed.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tenantry_core.slices import Reference
from tenantry_core.wire import LoadReport
from tenantry_operator.planning.case import Case, active_reference, is_per_user
from tenantry_operator.planning.claims import CLAIM_REASONS
from tenantry_operator.planning.loads import RESOLVE, VERIFY
from tenantry_operator.planning.moves import is_loaded, move_failure, next_slots
from tenantry_operator.planning.world import CheckFailure

PROBED = "Probed"
NOT_PROBED = "NotProbed"
"""Reasons of a good version: it answered a sample row, or there is none that it could have been asked."""


class Version(msgspec.Struct, frozen=True):
    """A version that serves."""

    reference: Reference
    slots: tuple[str, ...]
    good: bool
    """Whether it was loaded (and answered, if it could be asked); else that is being found out."""
    report: LoadReport | None = None
    """The measurements of its first load; None where only the status remembers it."""


class Outcome(msgspec.Struct, frozen=True):
    """What a model comes to in this plan."""

    version: Version | None
    answers_spec: bool = False
    """Whether that is the version that the spec asks for, with its refresh annotation."""
    failure: CheckFailure | None = None
    """What keeps the wanted version, or a slot of it, from serving; transient ones say nothing for good."""


def decide(case: Case) -> Outcome:
    """Choose the version to serve, and ask for the loads that are missing."""
    routed = _routed(case)
    if case.claim.refusal is not None:
        return Outcome(routed and _placed(case, routed))
    if routed is None:
        return _first_version(case)
    if not _answers(case, routed.reference):
        return _next_version(case, routed)
    version = _placed(case, routed)
    failure = move_failure(case, version.reference, version.slots)
    if is_untried(case, version):
        _verify(case, version.reference)
        failure = failure or case.verdict(version.reference)
    return Outcome(version, True, failure or case.setback(version.reference))


def _routed(case: Case) -> Version | None:
    """The version that is written in the slices or, where that is lost or bad, in the status."""
    if case.barred is not None:
        return None
    if case.entry is not None and case.entry.targets:
        target = case.entry.targets[0]
        version = _known(case, target.reference, target.slots)
        if version.good or case.verdict(target.reference) is None:
            return version
    active = case.model.status.active
    return None if active is None else _known(case, active_reference(active), ())


def is_untried(case: Case, version: Version) -> bool:
    """Was a user to probe it with named only after it began to serve?"""
    serving = case.model.status.condition("Serving")
    nameable = is_per_user(version.reference) and case.model.spec.artifact.probe_user
    return bool(nameable) and version.report is None and (serving is None or serving.reason != PROBED)


def _first_version(case: Case) -> Outcome:
    """Nothing serves: a pinned version is routed at once unless it has failed, another is resolved first."""
    wanted = case.wanted
    if not wanted.sha256 and not case.per_user:
        resolved = _resolve(case)
        if resolved is None:
            return Outcome(None, failure=_trouble(case, wanted))
        return Outcome(_placed(case, resolved), True)
    version = _known(case, wanted, ())
    if version.good or not _was_refused(case):
        return Outcome(_placed(case, version), True, case.setback(wanted))
    _verify(case, wanted)
    return Outcome(None, failure=_trouble(case, wanted))


def _next_version(case: Case, routed: Version) -> Outcome:
    """Another version is wanted: it serves once it is loaded on every slot that answers."""
    wanted = case.wanted
    if case.per_user:
        candidate = _known(case, wanted, case.desired)
        if candidate.good:
            return Outcome(candidate, True)
        _verify(case, wanted)
    else:
        resolved = _known(case, wanted, ()) if wanted.sha256 else _resolve(case)
        if resolved is not None:
            wanted = resolved.reference
            slots = [slot for slot in case.desired if case.fleet.ready_instances(slot)]
            loaded = [slot for slot in slots if is_loaded(case, wanted, slot)]
            if slots and loaded == slots:
                return Outcome(_known(case, wanted, tuple(loaded)), True)
    trouble = _trouble(case, wanted) or _trouble(case, case.wanted)
    return Outcome(_placed(case, routed), failure=trouble)


def _answers(case: Case, reference: Reference) -> bool:
    """Is this the version that the spec asks for, looked at again since the refresh annotation changed?"""
    wanted = case.wanted
    if (reference.uri, reference.format) != (wanted.uri, wanted.format):
        return False
    if wanted.sha256 or case.per_user:
        return reference.sha256 == wanted.sha256
    if case.model.status.last_refresh == case.model.refresh:
        return True
    resolved = _last_resolution(case)
    return resolved is not None and resolved.reference == reference


def _known(case: Case, reference: Reference, slots: tuple[str, ...]) -> Version:
    """A version with what is known of it: from the status, else from the loads of this object."""
    report = next((r for asked, r in _reports(case) if resolve(asked, r) == reference), None)
    active = case.model.status.active
    recorded = active is not None and active_reference(active) == reference
    unaskable = is_per_user(reference) and not case.model.spec.artifact.probe_user
    return Version(reference, slots, recorded or unaskable or report is not None, report)


def _resolve(case: Case) -> Version | None:
    """The bytes behind an artifact without a digest, as one slot saw them for the present spec."""
    resolved = _last_resolution(case)
    if resolved is None:
        case.loads.ask_one(case.wanted, RESOLVE)
    return resolved


def _last_resolution(case: Case) -> Version | None:
    for result in reversed(case.results(case.wanted)):
        if isinstance(result.outcome, LoadReport) and case.is_current(result):
            reference = resolve(case.wanted, result.outcome)
            return Version(reference, (result.check.slot,), True, result.outcome)
    return None


def _reports(case: Case) -> Iterator[tuple[Reference, LoadReport]]:
    for result in case.loads.results:
        if isinstance(result.outcome, LoadReport):
            yield result.check.reference, result.outcome


def resolve(asked: Reference, report: LoadReport) -> Reference:
    """The reference with the digest of the bytes that were loaded; per user there are many."""
    return asked if is_per_user(asked) else msgspec.structs.replace(asked, sha256=report.sha256)


def _placed(case: Case, version: Version) -> Version:
    """The version on the slots to route to now; one that nobody has judged is verified meanwhile."""
    if not version.good:
        _verify(case, version.reference)
    return msgspec.structs.replace(version, slots=next_slots(case, version.reference, version.slots))


def _verify(case: Case, reference: Reference) -> None:
    """Load and probe it somewhere, evicting nothing; what is pinned is loaded to stay."""
    verify = case.model.spec.residency != "Pinned" or is_per_user(reference)
    case.loads.ask_one(reference, VERIFY, verify=verify)


def _trouble(case: Case, reference: Reference) -> CheckFailure | None:
    return case.verdict(reference) or case.setback(reference)


def _was_refused(case: Case) -> bool:
    """By a load for the present spec, one before a restart too."""
    before = case.before
    told = before is not None and before.status == "False" and before.reason not in CLAIM_REASONS
    return told or case.verdict(case.wanted) is not None
