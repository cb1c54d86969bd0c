"""A node that is drained while all models are asked."""

from __future__ import annotations

import pytest

from e2e.conftest import Note
from e2e.installation import NAMESPACE, SLOTS, Installation
from e2e.rest import settle
from integration.kube import ApiError
from integration.waiting import wait_for

SECONDS = 180.0
TOO_MANY_REQUESTS = 429
"""What an eviction is answered that a disruption budget does not allow now."""


def test_a_drain_takes_one_predictor_at_a_time(installation: Installation, note: Note) -> None:
    first, second = installation.predictor("default-0"), installation.predictor("default-1")
    with installation.traffic() as traffic:
        before = traffic.go_on(10)
        since = traffic.now
        installation.kubectl("cordon", installation.node.name)
        drain(installation, first)
        with pytest.raises(ApiError) as refusal:
            evict(installation, second)
        installation.kubectl("uncordon", installation.node.name)
        settle(installation)
        drain(installation, second)
        wait_for(lambda: gone(installation, second), SECONDS, "the second is gone")
        settle(installation)
        traffic.go_on(3)
        during = traffic.window(since)
    note(f"before: {before.summary()}")
    note(f"two of {SLOTS} predictors evicted, one after another: {during.summary()}")
    note(f"  chosen because: {dict(during.reasons)}")
    note(f"  the second was refused at first: {refusal.value}")
    assert refusal.value.status == TOO_MANY_REQUESTS
    assert during.failures == []


def drain(installation: Installation, pod: dict[str, dict[str, str]]) -> None:
    """As `kubectl drain` does with a pod: again, until the budget allows it."""

    def is_evicted() -> bool:
        try:
            evict(installation, pod)
        except ApiError as error:
            if error.status != TOO_MANY_REQUESTS:
                raise
            return False
        return True

    wait_for(is_evicted, SECONDS, "the disruption budget allows it")


def evict(installation: Installation, pod: dict[str, dict[str, str]]) -> None:
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    installation.kube.create(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction", eviction)


def gone(installation: Installation, pod: dict[str, dict[str, str]]) -> bool:
    uids = {found["metadata"]["uid"] for found in installation.items("pods")}
    return pod["metadata"]["uid"] not in uids
