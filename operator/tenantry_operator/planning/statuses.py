"""A TenantModel's status, in words that its owner can act on."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

import msgspec

from tenantry_core.artifacts import USER_PLACEHOLDER
from tenantry_core.resources import ActiveVersion, Condition, TenantModel, TenantModelStatus
from tenantry_core.slices import Unavailable
from tenantry_operator.planning.case import Case, active_reference, is_per_user
from tenantry_operator.planning.claims import CLAIM_REASONS
from tenantry_operator.planning.versions import NOT_PROBED, PROBED, Outcome, Version, is_untried

VERIFYING = "Verifying"
FIRST_LOAD = "FirstLoad"


def model_status(case: Case, outcome: Outcome, router_url: str) -> TenantModelStatus:
    """The whole status; what cannot be known anew is kept from the one that is there."""
    status = case.model.status
    version = outcome.version
    ready = _ready(case, outcome)
    conditions = (ready, _serving(case, version, ready))
    status = msgspec.structs.replace(
        status,
        tenant=case.model.tenant,
        url=model_url(case.model, router_url),
        replicas=0 if version is None else len(version.slots),
        conditions=tuple([_since(case, condition) for condition in conditions]),
    )
    if outcome.answers_spec and version is not None and version.good:
        status = msgspec.structs.replace(status, last_refresh=case.model.refresh)
    if version is not None and version.good:
        status = _with_version(case, status, version, outcome.answers_spec)
    return status


def unavailable(status: TenantModelStatus) -> Unavailable:
    """What the router answers while nothing serves: the reason of Ready, or that the first load is on."""
    ready = status.condition("Ready")
    if ready is None or ready.status != "False":
        return Unavailable(FIRST_LOAD, "the first version of this model is being loaded; try again")
    return Unavailable(ready.reason, ready.message)


def says_the_same(one: TenantModelStatus, other: TenantModelStatus) -> bool:
    """Equal but for when: what is planned again before it is written is planned a moment later."""
    return _timeless(one) == _timeless(other)


def _timeless(status: TenantModelStatus) -> TenantModelStatus:
    conditions = (msgspec.structs.replace(c, last_transition_time="") for c in status.conditions)
    return msgspec.structs.replace(status, conditions=tuple(conditions))


def model_url(model: TenantModel, router_url: str) -> str:
    """Where this model is asked for a prediction; models of chosen users by their own name."""
    base = router_url.rstrip("/")
    if not base:
        return ""
    if not model.spec.users.unfiltered:
        return f"{base}/v2/models/{model.key}/infer"
    per_user = ":{user_id}" if USER_PLACEHOLDER in model.spec.artifact.uri else ""
    return f"{base}/predict/{model.tenant}{per_user}"


def quantity(size: int) -> str:
    """Bytes as a Kubernetes Quantity, rounded up: in Ki, or in a larger unit with two digits or more."""
    units = ("Ki", "Mi", "Gi", "Ti")
    power = next((p for p in range(1, len(units)) if size < 10 * 1024 ** (p + 1)), len(units))
    return f"{-(-size // 1024**power)}{units[power - 1]}"


def timestamp(unix: float) -> str:
    """RFC 3339 in UTC, whole seconds, as Kubernetes writes it."""
    return _timestamp(int(unix))


@functools.lru_cache(maxsize=8)
def _timestamp(unix: int) -> str:
    """All conditions of one plan begin in the same second."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ready(case: Case, outcome: Outcome) -> Condition:
    """The first that applies: refused, failed, in conflict, good; else undecided."""
    claim, failure, version = case.claim, outcome.failure, outcome.version
    if claim.refusal is not None:
        message = _and(claim.refusal.message, _still_serving(outcome))
        return _condition(case, "Ready", "False", claim.refusal.reason, message)
    if failure is not None and not failure.transient:
        message = _and(failure.message, _still_serving(outcome))
        return _condition(case, "Ready", "False", failure.reason, message)
    if claim.conflict is not None:
        return _condition(case, "Ready", "False", claim.conflict.reason, claim.conflict.message)
    if outcome.answers_spec and version is not None and version.good and not _incomplete(case, version):
        return _condition(case, "Ready", "True", *_probed(case, version))
    return _undecided(case, outcome)


def _incomplete(case: Case, version: Version) -> bool:
    """Was it told before a restart that a slot or a user cannot have this version, and not tried since?"""
    missing = bool(set(case.desired) - set(version.slots)) or is_untried(case, version)
    return missing and version.report is None and _is_failure(case.before)


def _undecided(case: Case, outcome: Outcome) -> Condition:
    """The verdict that was told for this spec holds until there is another."""
    before = case.before
    if before is not None and _still_holds(before, outcome):
        return before
    if outcome.failure is not None:
        message = _and(outcome.failure.message, "; trying again")
    elif not case.fleet.all_ready(case.pool):
        message = f"waiting for a slot of PredictorPool {case.pool!r} to answer"
    else:
        message = "the version that the spec asks for is being loaded"
    return _condition(case, "Ready", "Unknown", VERIFYING, message + _still_serving(outcome))


def _still_holds(before: Condition, outcome: Outcome) -> bool:
    """Refusals are judged anew each time; good news needs a version that serves."""
    if before.status == "True":
        return outcome.version is not None
    return _is_failure(before)


def _is_failure(before: Condition | None) -> bool:
    """Did a load end this way, rather than a look at the spec?"""
    return before is not None and before.status == "False" and before.reason not in CLAIM_REASONS


def _serving(case: Case, version: Version | None, ready: Condition) -> Condition:
    if version is None:
        reason = ready.reason if ready.status == "False" else FIRST_LOAD
        return _condition(case, "Serving", "False", reason, "no version answers")
    if not version.good:
        return _condition(case, "Serving", "Unknown", VERIFYING, "routed; its first check is under way")
    return _condition(case, "Serving", "True", *_probed(case, version))


def _probed(case: Case, version: Version) -> tuple[str, str]:
    """Reason and message for a version that is good."""
    name = _short(version)
    if version.report is not None and version.report.probed:
        return PROBED, f"version {name} answered its sample row"
    if version.report is None and (told := _told(case, version)) is not None:
        return told
    if is_per_user(version.reference):
        return NOT_PROBED, "each user's artifact is loaded when asked for; set artifact.probeUser to try one"
    return NOT_PROBED, f"version {name} is loaded; its artifact holds no sample row to try"


def _told(case: Case, version: Version) -> tuple[str, str] | None:
    """What the status says of this version since it was loaded, maybe before a restart."""
    active, serving = case.model.status.active, case.model.status.condition("Serving")
    if active is None or serving is None or serving.reason not in (PROBED, NOT_PROBED):
        return None
    same = active_reference(active) == version.reference
    return (serving.reason, serving.message) if same else None


def _and(sentence: str, more: str) -> str:
    """One sentence of a failure's and what follows from it."""
    return sentence.rstrip(".") + more if more else sentence


def _still_serving(outcome: Outcome) -> str:
    if outcome.version is None or not outcome.version.good:
        return ""
    if is_per_user(outcome.version.reference):
        return f"; {outcome.version.reference.uri} keeps serving"
    return f"; version {_short(outcome.version)} keeps serving"


def _with_version(
    case: Case, status: TenantModelStatus, version: Version, answers_spec: bool
) -> TenantModelStatus:
    reference, active, report = version.reference, status.active, version.report
    known = active is not None and active_reference(active) == reference
    generation = (
        active.generation if known and active and not answers_spec else case.model.metadata.generation
    )
    status = msgspec.structs.replace(
        status,
        active=ActiveVersion(
            version=_short(version),
            uri=reference.uri,
            format=reference.format,
            generation=generation,
            sha256=reference.sha256,
        ),
    )
    if known or report is None:
        return status
    return msgspec.structs.replace(
        status,
        size_bytes=report.size_bytes,
        size=quantity(report.size_bytes),
        load_milliseconds=round(report.load_milliseconds),
        inputs=report.inputs,
        outputs=report.outputs,
    )


def _short(version: Version) -> str:
    return version.reference.sha256[:12] or "-"


def _condition(case: Case, kind: str, status: str, reason: str, message: str) -> Condition:
    return Condition(
        type=kind,
        status=status,  # type: ignore[arg-type]
        reason=reason,
        message=message[:1024],
        observed_generation=case.model.metadata.generation,
    )


def _since(case: Case, condition: Condition) -> Condition:
    """With the time at which its status last changed."""
    before = case.model.status.condition(condition.type)
    same = before is not None and before.status == condition.status and before.last_transition_time
    since = before.last_transition_time if same and before else timestamp(case.now)
    return msgspec.structs.replace(condition, last_transition_time=since)
