"""What helm and the API server make of the chart: installed, upgraded, refused, uninstalled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.controlplane import ControlPlane
from cluster.errors import KubectlError
from integration.chart.release import CHART, NAMESPACE, HelmError, Release
from integration.chart.uninstalling import uninstall
from integration.waiting import wait_for

CRDS = {
    f"customresourcedefinition.apiextensions.k8s.io/{kind}.tenantry.dev"
    for kind in ("tenantmodels", "predictorpools", "placementslices")
}
OTHERS = {"gateway.networking.k8s.io", "monitoring.coreos.com"}
MODELS = "tenantmodel.tenantry.dev"
MODEL = """\
apiVersion: tenantry.dev/v1alpha1
kind: TenantModel
metadata: {name: %(name)s}
spec:
  artifact: {uri: %(uri)s}
"""


@pytest.fixture(scope="module", autouse=True)
def installed(plane: ControlPlane, release: Release) -> str:
    """What NOTES say of an installation without any value. The last test uninstalls it."""
    return release.install()


def test_notes_say_what_to_do_next_and_who_may_ask(installed: str) -> None:
    assert "kubectl apply -f -" in installed
    assert "/predict/acme" in installed
    assert "Access is open" in installed
    assert "ClusterIP" in installed


@pytest.mark.parametrize("name", ["tenantry-operator", "tenantry-router"])
def test_pods_pass_pod_security_restricted(release: Release, name: str) -> None:
    release.admit(release.get("deployment", name)["spec"]["template"])


def test_an_upgrade_keeps_the_token(release: Release) -> None:
    [token] = release.tokens()
    assert len(token) >= 32
    release.upgrade()
    assert release.tokens() == [token]


def test_a_new_value_of_rotation_puts_a_new_token_before_the_present_one(release: Release) -> None:
    [first] = release.tokens()
    release.upgrade({"token": {"rotation": "2026-11-22"}})
    second = release.tokens()[0]
    assert release.tokens() == [second, first]
    for values in ({"token": {"rotation": "2026-11-22"}}, {}):
        release.upgrade(values)
        assert release.tokens() == [second, first], f"nothing new was asked for with {values}"
    release.upgrade({"token": {"rotation": 2}})
    assert release.tokens()[1:] == [second]


def test_a_secret_of_ones_own_is_left_alone(release: Release) -> None:
    rendered = release.template({"token": {"existingSecret": "mine"}})
    assert "kind: Secret\n" not in rendered
    assert "secretName: mine" in rendered
    assert "--token-secret=mine" in rendered


def test_definitions_upgrade_with_the_chart(plane: ControlPlane, release: Release) -> None:
    name = "tenantmodels.tenantry.dev"
    [version] = release.get("crd", name)["spec"]["versions"]
    older = '[{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}]'
    plane.kubectl("patch", "crd", name, "--type=json", f"--patch={older}")
    release.upgrade({"router": {"replicas": 3}})
    assert release.get("crd", name)["spec"]["versions"] == [version]


@pytest.mark.parametrize("path", sorted((CHART / "ci").glob("*-values.yaml")), ids=lambda path: path.stem)
def test_the_api_server_accepts_what_is_rendered(plane: ControlPlane, release: Release, path: Path) -> None:
    rendered = yaml.safe_load_all(release.template(yaml.safe_load(path.read_text()), "judged"))
    # The kinds of others are not defined here; kubeconform knows them.
    known = [m for m in rendered if m["apiVersion"].split("/")[0] not in OTHERS]
    how = ["--server-side", "--force-conflicts", "--dry-run=server", f"--namespace={NAMESPACE}"]
    plane.kubectl("apply", *how, "-f", "-", stdin=yaml.safe_dump_all(known))


def test_a_training_job_may_bring_models_and_no_more(plane: ControlPlane, release: Release) -> None:
    plane.kubectl("create", "serviceaccount", "trainer", f"--namespace={NAMESPACE}")
    role = ["--clusterrole=tenantry-edit", f"--serviceaccount={NAMESPACE}:trainer"]
    plane.kubectl("create", "rolebinding", "trainer", *role)
    trainer = f"--kubeconfig={plane.kubeconfig_for('trainer', NAMESPACE)}"
    wait_for(lambda: may_create_models(plane, trainer), 60, "the API server has heard of the binding")
    uri = "s3://models/trained.onnx"
    plane.kubectl(trainer, "apply", "-f", "-", stdin=MODEL % {"name": "trained", "uri": uri})
    assert plane.kubectl(trainer, "get", "tenantmodels", "--output=name") == f"{MODELS}/trained\n"
    plane.kubectl(trainer, "delete", "tenantmodel", "trained")
    with pytest.raises(KubectlError, match="cannot list resource"):
        plane.kubectl(trainer, "get", "predictorpools")


def may_create_models(plane: ControlPlane, account: str) -> bool:
    try:
        return plane.kubectl(account, "auth", "can-i", "create", "tenantmodels").strip() == "yes"
    except KubectlError:  # it ends with an error where the answer is no
        return False


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"routers": {}}, "routers"),
        ({"router": {"replica": 3}}, "replica"),
        ({"router": {"replicas": "three"}}, "/router/replicas"),
        ({"router": {"defaultTimeout": "10 minutes"}}, "/router/defaultTimeout"),
        ({"router": {"httpRoute": {"enabled": True}}}, "/router/httpRoute/parentRefs"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"operator": {"resources": {"limit": {}}}}, "limit"),
        ({"defaultPool": {"spec": {"replcas": 2}}}, "replcas"),
        ({"defaultPool": {"spec": {"cache": {"memory": "lots"}}}}, "/defaultPool/spec/cache/memory"),
        ({"defaultPool": {"spec": {"storage": {"prefixes": ["models/"]}}}}, "/spec/storage/prefixes/0"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(release: Release, values: dict[str, Any], name: str) -> None:
    with pytest.raises(HelmError) as refused:
        release.template(values)
    assert name in str(refused.value)


def test_uninstalling_leaves_the_definitions_and_what_users_applied(
    plane: ControlPlane, release: Release
) -> None:
    plane.kubectl("apply", "-f", "-", stdin=MODEL % {"name": "acme", "uri": "s3://models/acme.onnx"})
    uninstall(plane, release)
    assert release.left() == set()
    assert release.names("crd") == CRDS
    assert plane.kubectl("get", "tenantmodels", "--output=name") == f"{MODELS}/acme\n"
