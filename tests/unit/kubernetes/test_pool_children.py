"""What a pool becomes: slots' Deployments and what they share."""

from __future__ import annotations

from typing import Any

import pytest

from tenantry_core.resources import PredictorPool, from_manifest
from tenantry_operator.kubernetes.pool_children import digest, shared_children, slot_deployment
from tenantry_operator.kubernetes.release import Release

RELEASE = Release("tenantry", "registry.example/predictor:1", token_secret="tenantry-token")


def pool(**spec: Any) -> PredictorPool:
    manifest = {"metadata": {"name": "default", "uid": "the-uid"}, "spec": spec}
    made: PredictorPool = from_manifest(manifest, PredictorPool)
    return made


def pod(**spec: Any) -> dict[str, Any]:
    template: dict[str, Any] = slot_deployment(pool(**spec), "default-3", RELEASE)["spec"]["template"]
    specification: dict[str, Any] = template["spec"]
    return specification


def predictor(**spec: Any) -> dict[str, Any]:
    [made] = pod(**spec)["containers"]
    return dict(made)


def options(**spec: Any) -> list[tuple[str, str]]:
    arguments = predictor(**spec)["args"]
    return list(zip(arguments[::2], arguments[1::2], strict=True))


def test_a_slot_is_found_by_its_name_and_rolls_without_a_gap() -> None:
    deployment = slot_deployment(pool(), "default-3", RELEASE)
    [service] = [child for child in shared_children(pool(), RELEASE) if child["kind"] == "Service"]
    specification = deployment["spec"]["template"]["spec"]
    assert specification["hostname"] == "default-3"
    assert specification["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    # The endpoint controller copies the Service's labels, and the feeds look for this one.
    assert service["metadata"]["labels"]["tenantry.dev/pool"] == "default"
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_children_go_with_their_pool() -> None:
    children = [*shared_children(pool(), RELEASE), slot_deployment(pool(), "default-0", RELEASE)]
    for child in children:
        [owner] = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("PredictorPool", "default", "the-uid")
        assert child["metadata"]["namespace"] == "tenantry"


def test_a_pod_meets_the_restricted_standard() -> None:
    security = predictor()["securityContext"]
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True
    assert pod()["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, 2 * 2**30 * 60 // 100),
        ({"template": {"resources": {"limits": {"memory": "1G"}}}}, 600_000_000),
        ({"template": {"resources": {"limits": {"memory": 1_000_000_000}}}}, 600_000_000),
        ({"cache": {"memory": "512Mi"}}, 512 * 2**20),
    ],
)
def test_models_get_a_share_of_the_memory_unless_stated(spec: dict[str, Any], expected: int) -> None:
    assert ("--cache-memory", str(expected)) in options(**spec)


def test_little_cpu_is_asked_for_and_none_is_withheld() -> None:
    resources = predictor()["resources"]
    assert resources["requests"]["cpu"] == "100m"
    assert "cpu" not in resources["limits"]
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == ("256Mi", "2Gi")


def test_a_memory_limit_that_is_stated_alone_is_asked_for_whole() -> None:
    stated = {"resources": {"limits": {"memory": "4Gi"}}}
    assert predictor(template=stated)["resources"]["requests"]["memory"] == "4Gi"


def test_what_the_template_states_is_kept() -> None:
    stated = {
        "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "3", "memory": "4Gi"}},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "models", "operator": "Exists"}],
        "serviceAccountName": "reader",
        "env": [{"name": "AWS_CA_BUNDLE", "value": "/ca.pem"}],
    }
    made = pod(template=stated)
    assert made["containers"][0]["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"cpu": "3", "memory": "4Gi"},
    }
    assert made["nodeSelector"] == {"disk": "fast"}
    assert made["tolerations"] == [{"key": "models", "operator": "Exists"}]
    assert made["serviceAccountName"] == "reader"
    assert {"name": "AWS_CA_BUNDLE", "value": "/ca.pem"} in made["containers"][0]["env"]


def test_storage_and_trust_reach_the_predictor() -> None:
    storage = {
        "prefixes": ["s3://models/{namespace}/", "file:///models/"],
        "s3": {"endpoint": "http://minio:9000", "region": "eu", "secretRef": {"name": "reader"}},
        "volume": {"claimName": "models"},
    }
    given = options(storage=storage, trust={"formats": ["onnx"]}, cache={"disk": "10G", "eviction": "LRU"})
    assert ("--prefix", "s3://models/{namespace}/") in given
    assert ("--prefix", "file:///models/") in given
    assert [value for option, value in given if option == "--trust-format"] == ["onnx"]
    assert ("--s3-endpoint", "http://minio:9000") in given
    assert ("--s3-region", "eu") in given
    assert ("--cache-disk", str(10**10)) in given
    assert ("--eviction", "LRU") in given
    made = pod(storage=storage)
    references = {e["name"]: e["valueFrom"]["secretKeyRef"]["name"] for e in made["containers"][0]["env"]}
    assert references == {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "reader"}
    [mount] = [m for m in made["containers"][0]["volumeMounts"] if m["mountPath"] == "/models"]
    [volume] = [v for v in made["volumes"] if v["name"] == mount["name"]]
    assert mount["readOnly"] is True
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}


def test_the_token_is_mounted_where_the_predictor_reads_it() -> None:
    path = dict(options())["--token-file"]
    [mount] = [m for m in predictor()["volumeMounts"] if path.startswith(m["mountPath"] + "/")]
    [volume] = [v for v in pod()["volumes"] if v["name"] == mount["name"]]
    assert volume["secret"]["secretName"] == "tenantry-token"


def test_without_a_token_secret_none_is_asked_for() -> None:
    deployment = slot_deployment(pool(), "default-0", Release("tenantry", "image"))
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert "--token-file" not in container["args"]


def test_only_routers_and_operators_may_call() -> None:
    [policy] = [child for child in shared_children(pool(), RELEASE) if child["kind"] == "NetworkPolicy"]
    calls, scrapes = policy["spec"]["ingress"]
    callers = {c["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for c in calls["from"]}
    assert (callers, [port["port"] for port in calls["ports"]]) == ({"router", "operator"}, ["http"])
    assert [port["port"] for port in scrapes["ports"]] == ["metrics"]


def test_the_digest_tells_a_changed_template_and_nothing_else() -> None:
    same = slot_deployment(pool(replicas=7), "default-3", RELEASE)
    other = slot_deployment(pool(template={"nodeSelector": {"a": "b"}}), "default-3", RELEASE)
    assert digest(slot_deployment(pool(), "default-3", RELEASE)) == digest(same)
    assert digest(same) != digest(other)
