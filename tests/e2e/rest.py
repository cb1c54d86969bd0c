"""When a release is at rest: all that was asked for is there, and nothing is on its way."""

from __future__ import annotations

from collections.abc import Iterator

from e2e.installation import Installation, Object
from integration.kube import ApiError
from integration.waiting import wait_for

_SECONDS = 180.0


def settle(installation: Installation, seconds: float = _SECONDS) -> None:
    """Waits until it is at rest; says what is not, when that takes too long."""
    last: list[str] = []

    def is_settled() -> bool:
        last[:] = _unsettled(installation)
        return not last

    try:
        wait_for(is_settled, seconds, "the release is at rest")
    except AssertionError as error:
        raise AssertionError(f"{error}: {', '.join(last)}") from error


def condition_of(model: Object, kind: str) -> Object:
    """The condition, where it is of the present generation; else nothing."""
    for condition in model.get("status", {}).get("conditions", ()):
        current = condition.get("observedGeneration") == model["metadata"]["generation"]
        if condition["type"] == kind and current:
            found: Object = condition
            return found
    return {}


def is_ready(model: Object) -> bool:
    return bool(condition_of(model, "Ready").get("status") == "True")


def _unsettled(installation: Installation) -> list[str]:
    """What is still on its way, each in a few words."""
    return [*_deployments(installation), *_pool(installation), *_models(installation)]


def _deployments(installation: Installation) -> Iterator[str]:
    deployments = installation.items("deployments", "apps/v1")
    for deployment in deployments:
        status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
        counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
        if counts != {wanted} or status["observedGeneration"] != deployment["metadata"]["generation"]:
            yield f"Deployment {deployment['metadata']['name']}"
    # A Deployment hears of a pod's end later than others do.
    pods, wanted = installation.items("pods"), sum(found["spec"]["replicas"] for found in deployments)
    if len(pods) != wanted or any("deletionTimestamp" in pod["metadata"] for pod in pods):
        yield f"{len(pods)} pods instead of {wanted}"


def _pool(installation: Installation) -> Iterator[str]:
    try:
        pool = installation.pool()
    except ApiError:
        yield "no PredictorPool"
        return
    wanted, status = pool["spec"]["replicas"], pool.get("status", {})
    if {status.get("replicas"), status.get("readyReplicas")} != {wanted}:
        yield f"{status.get('readyReplicas', 0)} of {wanted} slots are ready"


def _models(installation: Installation) -> Iterator[str]:
    placed = installation.placement()
    for name, model in installation.models().items():
        if not is_ready(model) or f"default.{name}" not in placed:
            yield f"TenantModel {name}"
