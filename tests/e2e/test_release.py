"""A release that comes from an earlier chart, and one that goes."""

from __future__ import annotations

import subprocess
import tarfile
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import pytest

from e2e.conftest import Note
from e2e.installation import NAMESPACE, RELEASE, ROOT, TENANTS, Installation, Object
from e2e.rest import settle
from integration.kube import OWN
from integration.waiting import wait_for

CHART = "deploy/helm/tenantry"
BACK_SECONDS = 180.0
NAMESPACED = {
    "api/v1": ("pods", "services", "secrets", "configmaps", "serviceaccounts"),
    "apis/apps/v1": ("deployments", "replicasets"),
    "apis/batch/v1": ("jobs",),
    "apis/policy/v1": ("poddisruptionbudgets",),
    "apis/networking.k8s.io/v1": ("networkpolicies", "ingresses"),
    "apis/rbac.authorization.k8s.io/v1": ("roles", "rolebindings"),
    "apis/coordination.k8s.io/v1": ("leases",),
    "apis/discovery.k8s.io/v1": ("endpointslices",),
    "apis/tenantry.dev/v1alpha1": ("placementslices",),
}
OWN_POOL: Object = {
    "apiVersion": "tenantry.dev/v1alpha1",
    "kind": "PredictorPool",
    "metadata": {"name": "own"},
    "spec": {"replicas": 0},
}
"""A user's."""
NOT_OURS = {"demo-s3", "kube-root-ca.crt", "default"}
"""The tour's store, and what every namespace has."""


def test_uninstalling_leaves_only_what_is_the_users(installation: Installation, note: Note) -> None:
    installation.apply(OWN_POOL)
    notes = installation.helm("status", RELEASE)
    assert "What stays: the CustomResourceDefinitions" in notes.partition("helm uninstall")[2]
    try:
        installation.helm("uninstall", RELEASE, "--wait", "--timeout=5m")
        wait_for(lambda: not left(installation), BACK_SECONDS, "nothing of the release is left")
        assert len(installation.models()) == TENANTS
        pools = [pool["metadata"]["name"] for pool in installation.kube.items(f"{OWN}/predictorpools")]
        assert pools == [OWN_POOL["metadata"]["name"]]
        note(f"left: CRDs, {TENANTS} TenantModels, PredictorPools {', '.join(pools)}")
    finally:
        installation.kube.delete(f"{OWN}/predictorpools/{OWN_POOL['metadata']['name']}")
        installation.upgrade()
    settle(installation, BACK_SECONDS)
    with installation.traffic() as traffic:
        window = traffic.go_on(3)
    assert window.failures == []


def test_an_upgrade_from_the_chart_before_this_one_fails_no_request(
    installation: Installation, note: Note, tmp_path: Path
) -> None:
    commits = git("log", "--format=%H", "-2", "--", CHART).decode().split()
    if len(commits) < 2:
        pytest.skip("there is no chart before this one, or this clone has no history")
    with tarfile.open(fileobj=BytesIO(git("archive", commits[1], CHART))) as archive:
        archive.extractall(tmp_path, filter="data")
    # The images of its time are not here: nothing can be pulled.
    installation.upgrade(f"--set=image.tag={version('tenantry')}", chart=tmp_path / CHART)
    settle(installation)
    with installation.traffic() as traffic:
        since = traffic.now
        traffic.go_on(3)
        installation.upgrade()
        settle(installation)
        traffic.go_on(3)
        window = traffic.window(since)
    note(f"from the chart of {commits[1][:12]}: {window.summary()}")
    assert window.failures == []
    assert window.cold == []


def left(installation: Installation) -> list[str]:
    """What is left of the release, as kind/name."""
    found = [
        f"{plural}/{item['metadata']['name']}"
        for group, plurals in NAMESPACED.items()
        for plural in plurals
        for item in installation.kube.items(f"/{group}/namespaces/{NAMESPACE}/{plural}")
        if not any(item["metadata"]["name"].startswith(name) for name in NOT_OURS)
    ]
    roles = "/apis/rbac.authorization.k8s.io/v1"
    found += [
        f"{plural}/{item['metadata']['name']}"
        for plural in ("clusterroles", "clusterrolebindings")
        for item in installation.kube.items(f"{roles}/{plural}")
        if item["metadata"]["name"].startswith(RELEASE)
    ]
    return found


def git(*arguments: str) -> bytes:
    # Where the tests run as root in a clone of somebody else, git asks whether that is meant.
    command = ["git", "-c", f"safe.directory={ROOT}", *arguments]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if answer.returncode != 0:
        pytest.fail(f"git {' '.join(arguments)}: {answer.stderr.decode().strip()}")
    return answer.stdout
