"""A model from `kubectl apply` to its answer, its updates good and bad, and its end."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.controlplane import ControlPlane
from cluster.s3server import S3Server
from integration import artifacts
from integration.harness import NAMESPACE, Installation
from integration.waiting import wait_for

Artifact = dict[str, Any]


@pytest.fixture(scope="module")
def installation(plane: ControlPlane, s3_server: S3Server) -> Iterator[Installation]:
    with Installation(plane, s3_server) as made:
        yield made


def test_a_model_serves_after_it_was_applied(installation: Installation) -> None:
    installation.apply("first", installation.publish("first", 2, 1))
    installation.wait_answers("first", 3)
    assert installation.wait_ready("first") == "Probed"


def test_without_a_digest_the_artifact_is_looked_at_first(installation: Installation) -> None:
    uri = installation.put("unpinned.onnx", artifacts.linear(2, 5))
    installation.apply("unpinned", {"uri": uri})
    installation.wait_answers("unpinned", 7)
    assert installation.wait_ready("unpinned") == "Probed"


def test_kubectl_tells_how_a_model_is(installation: Installation) -> None:
    artifact = installation.publish("told", 1, 1)
    installation.apply("told", artifact)
    installation.wait_ready("told")
    header, row = installation.plane.kubectl("get", "tenantmodels", "told").splitlines()
    assert header.split() == ["NAME", "TENANT", "READY", "VERSION", "REPLICAS", "SIZE", "REASON", "AGE"]
    name, tenant, ready, version, replicas, size, reason, _ = row.split()
    assert (name, tenant, ready, version) == ("told", "told", "True", artifact["sha256"][:12])
    assert (replicas, reason) == ("1", "Probed")
    assert size[0].isdigit()
    slices = installation.plane.kubectl("get", "ps", f"--namespace={NAMESPACE}").splitlines()
    assert slices[0].split() == ["NAME", "MODELS", "AGE"]
    assert slices[1].split()[:2] == ["placement-0-0", str(len(installation.entries()))]
    wide = installation.plane.kubectl("get", "tenantmodels", "told", "-o", "wide")
    assert artifact["uri"] in wide
    assert "http://router.example/" in wide


def test_an_update_is_served_without_one_failed_request(installation: Installation) -> None:
    old, new = installation.publish("updated", 1, 1), installation.publish("updated", 1, 10)
    installation.apply("updated", old)
    installation.wait_answers("updated", 2)
    installation.apply("updated", new)
    seen: list[float] = []

    def answered_by_the_new_one() -> bool:
        response = installation.predict("updated", 1.0)
        assert response.status_code == 200, response.text
        seen.extend(response.json())
        return seen[-1] == 11

    wait_for(answered_by_the_new_one, 60, "the new version answers")
    assert set(seen) <= {2.0, 11.0}
    assert installation.wait_ready("updated") == "Probed"
    assert installation.model("updated")["status"]["active"]["sha256"] == new["sha256"]


def missing(installation: Installation) -> Artifact:
    return {"uri": "s3://models/nothing/here.onnx", "sha256": "0" * 64}


def wrong_digest(installation: Installation) -> Artifact:
    return installation.publish("bad", 7, 7) | {"sha256": "0" * 64}


def corrupt(installation: Installation) -> Artifact:
    content = artifacts.linear(7, 7)[:100]
    return {"uri": installation.put("corrupt.onnx", content), "sha256": artifacts.digest(content)}


def pickled(installation: Installation) -> Artifact:
    content = b"cos\nsystem\n(S'true'\ntR."
    return {"uri": installation.put("model.pkl", content), "sha256": artifacts.digest(content)}


def outside(installation: Installation) -> Artifact:
    return {"uri": "s3://elsewhere/model.onnx", "sha256": "0" * 64}


def failing_probe(installation: Installation) -> Artifact:
    content = artifacts.linear(7, 7, sample=[[1.0, 2.0, 3.0]])
    return {"uri": installation.put("probe.onnx", content), "sha256": artifacts.digest(content)}


BAD = [
    pytest.param(missing, "ArtifactNotFound", id="missing"),
    pytest.param(wrong_digest, "DigestMismatch", id="wrong-digest"),
    pytest.param(corrupt, "LoadFailed", id="corrupt"),
    pytest.param(pickled, "FormatNotTrusted", id="untrusted-format"),
    pytest.param(outside, "OutsideAllowedStorage", id="outside-storage"),
    pytest.param(failing_probe, "ProbeFailed", id="failing-probe"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_a_bad_update_leaves_the_old_version_serving(
    installation: Installation, bad: Any, reason: str
) -> None:
    name = f"kept-{reason.lower()}"
    good = installation.publish(name, 1, 1)
    installation.apply(name, good)
    installation.wait_answers(name, 2)
    installation.apply(name, bad(installation))
    assert installation.wait_ready(name, "False") == reason
    assert installation.condition(name, "Serving")[0] == "True"
    assert installation.answers(name, 2)
    # In words, where a person looks.
    assert len(installation.message(name).split()) >= 4
    wait_for(
        lambda: f"Warning  {reason}" in installation.plane.kubectl("describe", "tenantmodels", name),
        60,
        "kubectl describe shows the event",
    )
    # And back again.
    installation.apply(name, good)
    assert installation.wait_ready(name) == "Probed"
    assert installation.answers(name, 2)


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_a_bad_first_version_says_why(installation: Installation, bad: Any, reason: str) -> None:
    name = f"never-{reason.lower()}"
    installation.apply(name, bad(installation))
    assert installation.wait_ready(name, "False") == reason
    assert installation.condition(name, "Serving")[0] == "False"
    response = wait_for(
        lambda: r if (r := installation.predict(name, 1.0)).json().get("reason") == reason else None,
        60,
        f"requests are told {reason}",
    )
    assert response.status_code == 503
    assert "retry-after" in response.headers


def test_a_deleted_model_stops_being_served(installation: Installation) -> None:
    installation.apply("deleted", installation.publish("deleted", 1, 1))
    installation.wait_answers("deleted", 2)
    installation.delete("deleted")
    wait_for(lambda: installation.predict("deleted", 1.0).status_code == 404, 60, "it is unknown")


def test_a_successor_of_the_same_name_never_serves_the_old_bytes(installation: Installation) -> None:
    # The same key is overwritten: only the digest tells the two apart.
    uri = installation.put("reborn.onnx", artifacts.linear(1, 1))
    installation.apply("reborn", {"uri": uri})
    installation.wait_answers("reborn", 2)
    installation.delete("reborn")
    installation.put("reborn.onnx", artifacts.linear(1, 20))
    installation.apply("reborn", {"uri": uri})
    old_is_over = False

    def answered_by_the_new_one() -> bool:
        nonlocal old_is_over
        response = installation.predict("reborn", 1.0)
        answer = response.json()[0] if response.is_success else None
        # Until the router has heard of the deletion the old one answers; never again after that.
        assert not (old_is_over and answer == 2.0)
        old_is_over = old_is_over or answer != 2.0
        return bool(answer == 21.0)

    wait_for(answered_by_the_new_one, 60, "the successor answers")


def test_a_hundred_cold_requests_load_once_where_they_meet(installation: Installation) -> None:
    installation.put("each/42.onnx", artifacts.linear(3, 0))
    installation.apply("each", {"uri": "s3://models/each/{user_id}.onnx"})
    assert installation.wait_ready("each") == "NotProbed"
    wait_for(lambda: installation.router.get("/explain/each:42").is_success, 60, "the router knows it")
    before = loads(installation)

    def ask(_: int) -> float:
        response = installation.predict("each:42", 1.0)
        assert response.is_success, response.text
        value: float = response.json()[0]
        return value

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        assert set(pool.map(ask, range(100))) == {3.0}
    # The load bound may send some of them to the other slot, which then loads too, once.
    new = [after - before[slot] for slot, after in loads(installation).items()]
    assert max(new) == 1


def loads(installation: Installation) -> dict[str, float]:
    """Artifacts loaded so far, by slot."""
    counts = {}
    for pod in installation.kubelet.pods():
        text = installation.router.get(f"{pod.url}/metrics").text
        lines = [
            line for line in text.splitlines() if line.startswith("tenantry_predictor_load_seconds_count")
        ]
        counts[pod.slot] = sum(float(line.rsplit(" ", 1)[1]) for line in lines)
    return counts
