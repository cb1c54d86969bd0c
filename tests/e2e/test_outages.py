"""The control plane away, and back, while all models are asked."""

from __future__ import annotations

from time import perf_counter

from e2e.conftest import Note
from e2e.flights import answer_of
from e2e.installation import NAMESPACE, Installation, Object
from e2e.rest import is_ready, settle
from integration.waiting import wait_for

OUTAGE_SECONDS = 120.0
"""How long a part is away."""
LOST_SECONDS = 180.0
"""Kubernetes gives up a node, and its pods' readiness, after about 50 s without word of its kubelet."""
STAYS_LOST = 40.0
"""Longer than the operator leaves its share to a slot that has gone."""
CONVERGE_SECONDS = 120.0


def test_without_the_api_server_predictions_go_on(installation: Installation, note: Note) -> None:
    with installation.traffic() as traffic:
        before = traffic.go_on(10)
        installation.node.stop_api_server()
        during = traffic.go_on(OUTAGE_SECONDS)
        installation.node.start_api_server()
        seconds = change_takes_effect(installation, traffic.now)
        traffic.go_on(5)
        after = traffic.window(during.answers[-1].due)
    note(f"before: {before.summary()}")
    note(f"{OUTAGE_SECONDS:.0f} s without the API server: {during.summary()}")
    note(f"back: a new version serves and is Ready {seconds:.1f} s later; {after.summary()}")
    for window in (during, after):
        assert window.failures == []
        assert window.cold == []
        assert not window.broken


def test_without_the_kubelet_predictions_go_on(installation: Installation, note: Note) -> None:
    """Also once Kubernetes takes every pod for not ready: the predictors themselves say otherwise."""
    placed = installation.placement()
    with installation.traffic() as traffic:
        since = traffic.now
        installation.node.stop_kubelet()
        wait_for(
            lambda: not any(map(is_ready_pod, installation.pods("predictor"))), LOST_SECONDS, "it is missed"
        )
        missed = traffic.now - since
        traffic.go_on(STAYS_LOST)
        meanwhile, pool = installation.placement(), installation.pool()
        installation.node.start_kubelet()
        settle(installation)
        traffic.go_on(5)
        window = traffic.window(since)
    moved = sum(meanwhile.get(model) != slots for model, slots in placed.items())
    note(f"pods not ready {missed:.0f} s after the kubelet went: {moved} models moved; {window.summary()}")
    assert window.failures == []
    assert window.cold == []
    assert not window.broken
    assert moved == 0
    assert pool["status"]["readyReplicas"] == pool["spec"]["replicas"]


def test_an_operator_that_was_away_moves_nothing(installation: Installation, note: Note) -> None:
    entries = installation.entries()
    versions = slice_versions(installation)
    with installation.traffic() as traffic:
        since = traffic.now
        scale_operator(installation, 0)
        wait_for(
            lambda: not installation.items("pods", labelSelector=OPERATOR),
            CONVERGE_SECONDS,
            "the operator is gone",
        )
        traffic.go_on(OUTAGE_SECONDS)
        scale_operator(installation, 1)
        settle(installation)
        traffic.go_on(10)  # time to plan
        window = traffic.window(since)
    note(f"{OUTAGE_SECONDS:.0f} s without the operator: {window.summary()}")
    assert window.failures == []
    assert window.cold == []
    assert installation.entries() == entries
    assert slice_versions(installation) == versions


OPERATOR = "app.kubernetes.io/name=tenantry,app.kubernetes.io/component=operator"


def is_ready_pod(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])


def scale_operator(installation: Installation, replicas: int) -> None:
    installation.kubectl(
        "scale", "deployment/tenantry-operator", f"--namespace={NAMESPACE}", f"--replicas={replicas}"
    )


def slice_versions(installation: Installation) -> dict[str, str]:
    """What changes with every write."""
    slices = installation.items("placementslices", "tenantry.dev/v1alpha1")
    return {piece["metadata"]["name"]: piece["metadata"]["resourceVersion"] for piece in slices}


def change_takes_effect(installation: Installation, began: float) -> float:
    """Applies a new version of one model; seconds until it serves."""
    tenant = installation.tenants[-1]
    version = tenant.retrained()
    tenant.answers.append(answer_of(version))
    manifest = installation.publish(version)
    digest = manifest["spec"]["artifact"]["sha256"]
    installation.apply(manifest)

    def serves() -> bool:
        model = installation.models()[tenant.name]
        return is_ready(model) and bool(model["status"]["active"]["sha256"] == digest)

    wait_for(serves, CONVERGE_SECONDS, f"the new version of {tenant.name} serves")
    return perf_counter() - began
