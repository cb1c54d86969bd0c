"""The same commands against a real API server, next to kubectl."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.controlplane import ControlPlane
from cluster.errors import KubectlError
from cluster.ports import free_ports, is_listening
from cluster.processes import Process
from integration.definitions import install
from integration.harness import START_SECONDS, own_address
from shell import ACME, Shell
from tenantry_core.version import VERSION

NAMESPACE = "commands"


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """With the kinds defined, and a namespace of these tests' own."""
    install(control_plane)
    control_plane.kubectl("create", "namespace", NAMESPACE)
    return control_plane


@pytest.fixture
def kubectl(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, state: Path) -> Iterator[ControlPlane]:
    """No state directory is named, so commands go to the cluster; what they made is deleted."""
    monkeypatch.delenv("TENANTRY_STATE")
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    yield plane
    # All at once: kubectl deletes what is listed one by one, at five a second.
    plane.kubectl("delete", "--raw", f"/apis/tenantry.dev/v1alpha1/namespaces/{NAMESPACE}/tenantmodels")


def test_apply_and_delete_say_what_kubectl_would(tenantry: Shell, kubectl: ControlPlane) -> None:
    changed = ACME + "  minReplicas: 2\n"
    said = [
        tenantry("apply", "-n", NAMESPACE, "-f", "-", stdin=text).out
        for text in (ACME, ACME, changed, changed)
    ]
    name = "tenantmodel.tenantry.dev/acme"
    assert said == [f"{name} created\n", f"{name} unchanged\n", f"{name} configured\n", f"{name} unchanged\n"]
    assert kubectl.kubectl("get", "tm", "-o", "name", f"--namespace={NAMESPACE}") == f"{name}\n"
    assert (
        tenantry("delete", "tm", "acme", "-n", NAMESPACE).out == 'tenantmodel.tenantry.dev "acme" deleted\n'
    )
    answer = tenantry("get", "tm", "acme", "-n", NAMESPACE)
    with pytest.raises(KubectlError) as refused:
        kubectl.kubectl("get", "tm", "acme", f"--namespace={NAMESPACE}")
    assert answer.code == 1
    assert answer.err.splitlines()[-1] == str(refused.value)


def test_get_prints_the_very_table_of_kubectl(tenantry: Shell, kubectl: ControlPlane) -> None:
    several = "---\n".join(ACME.replace("acme", name) for name in ("acme", "a", "b-longer-name"))
    tenantry("apply", "-n", NAMESPACE, "-f", "-", stdin=several)
    status = {
        "url": "http://router/predict/acme",
        "active": {"version": "0123456789ab", "uri": "s3://models/a.onnx", "format": "onnx", "generation": 1},
        "replicas": 2,
        "size": "12Ki",
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "ArtifactNotFound",
                "message": "there is no such object",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    patch = json.dumps({"status": status})
    arguments = ("--subresource=status", "--type=merge", f"--patch={patch}", f"--namespace={NAMESPACE}")
    kubectl.kubectl("patch", "tm", "acme", *arguments)
    for options in ((), ("-o", "wide"), ("-o", "name"), ("-A",), ("-A", "-o", "wide")):
        scope = () if "-A" in options else ("-n", NAMESPACE)
        ours = tenantry("get", "tm", *options, *scope).out
        theirs = kubectl.kubectl("get", "tm", *options, *scope)
        # Ages may differ by a second; kubectl fills up its last column with spaces.
        assert _without_ages(ours) == _without_ages(theirs)


def _without_ages(table: str) -> list[list[str]]:
    return [
        [word for word in line.split() if not word.endswith("s") or "/" in word]
        for line in table.splitlines()
    ]


def test_lists_longer_than_a_page_are_whole(tenantry: Shell, kubectl: ControlPlane, tmp_path: Path) -> None:
    names = [f"many-{number:03}" for number in range(520)]
    items = [yaml.safe_load(ACME) | {"metadata": {"name": name, "namespace": NAMESPACE}} for name in names]
    manifest = tmp_path / "many.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    kubectl.kubectl("create", "-f", str(manifest))
    listed = json.loads(tenantry("get", "tm", "-n", NAMESPACE, "-o", "json").out)["items"]
    assert [item["metadata"]["name"] for item in listed] == names
    assert {item["kind"] for item in listed} == {"TenantModel"}


def test_a_refusal_has_the_api_servers_words(tenantry: Shell, kubectl: ControlPlane) -> None:
    bad = ACME.replace("s3://models/acme.onnx", "models/acme.onnx")
    answer = tenantry("apply", "-n", NAMESPACE, "-f", "-", stdin=f"{bad}---\n{ACME.replace('acme', 'good')}")
    assert answer.code == 1
    assert answer.out == "tenantmodel.tenantry.dev/good created\n"
    assert 'The TenantModel "acme" is invalid: spec.artifact' in answer.err


def test_a_misspelt_field_is_refused(tenantry: Shell, kubectl: ControlPlane) -> None:
    answer = tenantry("apply", "-n", NAMESPACE, "-f", "-", stdin=ACME + "  minReplica: 2\n")
    assert answer.code == 1
    assert "spec.minReplica" in answer.err


def test_a_namespace_that_is_not_there_is_named(tenantry: Shell, kubectl: ControlPlane) -> None:
    answer = tenantry("apply", "-n", "nowhere", "-f", "-", stdin=ACME)
    assert answer.code == 1
    assert 'Error from server (NotFound): namespaces "nowhere" not found' in answer.err


def test_describe_shows_the_events_about_an_object(tenantry: Shell, kubectl: ControlPlane) -> None:
    applied = tenantry("apply", "-n", NAMESPACE, "-f", "-", stdin=ACME)
    assert applied.code == 0
    uid = json.loads(tenantry("get", "tm", "acme", "-n", NAMESPACE, "-o", "json").out)["metadata"]["uid"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "acme.1", "namespace": NAMESPACE},
        "involvedObject": {"kind": "TenantModel", "name": "acme", "namespace": NAMESPACE, "uid": uid},
        "type": "Warning",
        "reason": "ArtifactNotFound",
        "message": "there is no object models/acme.onnx",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    kubectl.kubectl("create", "-f", "-", stdin=json.dumps(event))
    text = tenantry("describe", "tm", "acme", "-n", NAMESPACE).out
    assert text.startswith("Name:         acme\nNamespace:    commands\n")
    [line] = [line for line in text.splitlines() if "ArtifactNotFound" in line]
    assert line.split()[:2] == ["Warning", "ArtifactNotFound"]
    assert line.endswith("there is no object models/acme.onnx")


def test_who_may_not_is_told_so(
    tenantry: Shell, kubectl: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl.kubectl("create", "serviceaccount", "nobody", f"--namespace={NAMESPACE}")
    monkeypatch.setenv("KUBECONFIG", str(kubectl.kubeconfig_for("nobody", NAMESPACE)))
    answer = tenantry("get", "tm", "-n", NAMESPACE)
    assert answer.code == 1
    assert "Error from server (Forbidden): tenantmodels.tenantry.dev is forbidden" in answer.err


def test_a_context_that_is_not_there_and_a_server_that_is_gone(
    tenantry: Shell, kubectl: ControlPlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = tenantry("get", "tm", "--context", "elsewhere")
    assert missing.code == 1
    assert "elsewhere" in missing.err
    config = yaml.safe_load(kubectl.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    gone = tmp_path / "gone.kubeconfig"
    gone.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(gone))
    answer = tenantry("get", "tm")
    assert answer.code == 1
    assert "the API server https://127.0.0.1:1 cannot be reached" in answer.err
    assert "Traceback" not in answer.err


def test_the_router_is_found_behind_the_api_server(
    tenantry: Shell, kubectl: ControlPlane, tmp_path: Path
) -> None:
    """The API server's service proxy leads to a real router; loopback is no address of an endpoint."""
    absent = tenantry("explain", "acme")
    assert absent.code == 1
    assert "say where the router is with --url" in absent.err

    address = own_address()
    [port] = free_ports(1)
    (tmp_path / "snapshot").mkdir()
    command = ["-m", "tenantry_router", "--snapshot", str(tmp_path / "snapshot"), "--host", address]
    router = Process([sys.executable, *command, "--port", str(port)], tmp_path / "router.log")
    router.start()
    try:
        router.wait_until(lambda: is_listening(port, address), START_SECONDS)
        _router_in_cluster(kubectl, address, port)
        answer = tenantry("predict", "acme", "-f", "-", stdin="[[1]]")
        assert answer.code == 1
        assert answer.err.splitlines()[-1].startswith("Error from server (Unknown")
        assert f"Server Version: {VERSION} (/api/v1/namespaces/commands/" in tenantry("version").out
        direct = tenantry("version", "--url", f"http://{address}:{port}")
        assert f"Server Version: {VERSION} (http://{address}:{port})" in direct.out
    finally:
        router.stop()
        kubectl.kubectl("delete", "service,endpoints,pod", "--all", "--force", f"--namespace={NAMESPACE}")


def _router_in_cluster(kubectl: ControlPlane, address: str, port: int) -> None:
    """A Service whose one pod has the address: the API server passes requests on to nothing but pods."""
    labels = {"app.kubernetes.io/name": "tenantry", "app.kubernetes.io/component": "router"}
    name = {"name": "tenantry-router", "namespace": NAMESPACE}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name}
    container = {"name": "router", "image": "tenantry"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": name,
        "spec": {"containers": [container], "serviceAccountName": name["name"]},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": name | {"labels": labels},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    }
    subset = {
        "addresses": [{"ip": address, "targetRef": {"kind": "Pod"} | name}],
        "ports": [{"name": "http", "port": port}],
    }
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": name, "subsets": [subset]}
    for content in (account, pod, service, endpoints):
        kubectl.kubectl("create", "-f", "-", stdin=json.dumps(content))
    status = json.dumps({"status": {"podIP": address, "podIPs": [{"ip": address}]}})
    scope = (f"--namespace={NAMESPACE}", "--subresource=status", "--type=merge")
    kubectl.kubectl("patch", "pod", name["name"], *scope, f"--patch={status}")
