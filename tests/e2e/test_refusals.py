"""What people are told about manifests and artifacts that cannot serve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest

from cluster.errors import KubectlError
from e2e.conftest import Note
from e2e.installation import Installation, Object
from e2e.rest import condition_of
from integration.waiting import wait_for

NAME = "refused"
VERDICT_SECONDS = 120.0


@dataclass(frozen=True)
class Bad:
    """An artifact that cannot serve: what is stored under its key, and what is said of it."""

    reason: str
    uri: str
    content: bytes | None = None
    sha256: str | None = None
    format: str | None = None


BAD = {
    "nothing there": Bad("ArtifactNotFound", "s3://models/default/nothing.onnx"),
    "no model": Bad("LoadFailed", "s3://models/default/text.onnx", b"This is no model."),
    "other bytes": Bad("DigestMismatch", "s3://models/default/text.onnx", b"Other bytes.", "0" * 64),
    "a pickle": Bad("FormatNotTrusted", "s3://models/default/model.pkl", b"cos\nsystem\n"),
    "elsewhere": Bad("OutsideAllowedStorage", "s3://secrets/model.onnx"),
    "a stranger's": Bad("OutsideAllowedStorage", "s3://models/other-namespace/model.onnx"),
}


@pytest.fixture
def model(installation: Installation) -> Iterator[str]:
    """The name of a model that goes with the test."""
    yield NAME
    installation.kubectl("delete", "tenantmodel", NAME, "--namespace=default", "--ignore-not-found")


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_artifact_is_reported_in_words(
    installation: Installation, model: str, bad: Bad, note: Note
) -> None:
    if bad.content is not None:
        store(installation, bad)
    installation.apply(manifest(model, bad))
    condition = wait_for(lambda: verdict(installation, model), VERDICT_SECONDS, "a verdict")
    assert (condition["status"], condition["reason"]) == ("False", bad.reason)
    line = installation.kubectl("get", "tenantmodel", model, "--no-headers")
    assert {"False", bad.reason} <= set(line.split())
    assert condition["message"] in " ".join(installation.kubectl("describe", "tm", model).split())
    events = wait_for(lambda: events_about(installation, model, bad.reason), VERDICT_SECONDS, "an event")
    assert events == [condition["message"]]
    note(f"{line.strip()}  {condition['message']}")


def test_a_bad_version_leaves_the_good_one_serving(installation: Installation, note: Note) -> None:
    tenant = installation.tenants[3]
    good = installation.models()[tenant.name]["spec"]["artifact"]
    bad = {"uri": "s3://models/default/lost.onnx", "sha256": "1" * 64}
    try:
        installation.apply(of_artifact(tenant.name, bad))
        condition = wait_for(lambda: verdict(installation, tenant.name), VERDICT_SECONDS, "a verdict")
        model = installation.models()[tenant.name]
        with installation.traffic() as traffic:
            window = traffic.go_on(3)
    finally:
        installation.apply(of_artifact(tenant.name, good))
    assert (condition["status"], condition["reason"]) == ("False", "ArtifactNotFound")
    assert condition_of(model, "Serving")["status"] == "True"
    assert window.failures == []
    note(condition["message"])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"artifact": {"uri": "models/acme.onnx"}}, "spec.artifact.uri: Invalid value"),
        ({"artifact": {"uri": "s3://models/acme.onnx"}, "minReplica": 2}, 'unknown field "spec.minReplica"'),
        ({}, "spec.artifact: Required value"),
    ],
)
def test_a_bad_manifest_is_refused_by_kubectl(
    installation: Installation, spec: Object, words: str, note: Note
) -> None:
    with pytest.raises(KubectlError) as refusal:
        installation.apply(of_spec(NAME, spec))
    assert words in str(refusal.value)
    note(str(refusal.value))


def manifest(name: str, bad: Bad) -> Object:
    artifact = {"uri": bad.uri} | ({"sha256": bad.sha256} if bad.sha256 else {})
    return of_artifact(name, artifact)


def of_artifact(name: str, artifact: Object) -> Object:
    return of_spec(name, {"artifact": artifact})


def of_spec(name: str, spec: Object) -> Object:
    return {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantModel",
        "metadata": {"name": name},
        "spec": spec,
    }


def verdict(installation: Installation, name: str) -> Object | None:
    """Ready, once it is neither unknown nor of an earlier generation."""
    condition = condition_of(installation.models()[name], "Ready")
    return condition if condition.get("status") in ("True", "False") else None


def events_about(installation: Installation, name: str, reason: str) -> list[str]:
    """The words of all events of that reason."""
    uid = installation.models()[name]["metadata"]["uid"]
    query = f"involvedObject.uid={uid},reason={reason}"
    return [
        event["message"] for event in installation.items("events", namespace="default", fieldSelector=query)
    ]


def store(installation: Installation, bad: Bad) -> None:
    address, port = installation.service("demo-s3")
    keys = installation.secret("demo-s3")
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{address}:{port}",
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    bucket, _, key = bad.uri.removeprefix("s3://").partition("/")
    client.put_object(Bucket=bucket, Key=key, Body=bad.content)
    client.close()
