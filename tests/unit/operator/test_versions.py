"""The life of a model's versions, as its owner sees it in status and as routers see it in slices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry_core.slices import Traffic
from tenantry_operator.planning.planner import plan
from unit.operator.simulation import BROKEN, Simulation, digest

URI = "s3://models/acme.onnx"
NEXT = "s3://models/acme-2.onnx"


@pytest.fixture
def sim() -> Simulation:
    """Two slots that answer, and a good artifact at URI and NEXT."""
    simulation = Simulation(slots=2)
    simulation.store |= {URI: "one", NEXT: "two"}
    simulation.settle()
    return simulation


def test_a_pinned_model_is_routed_at_once_and_verified_in_the_background(sim: Simulation) -> None:
    sim.apply("acme", URI, sha256=digest("one"))
    decided = sim.step()
    assert sim.routed("acme")[0] == digest("one")
    assert [c.reason for c in decided.statuses["ns.acme"].conditions] == ["Verifying", "Verifying"]
    assert [(check.verify, check.pinned) for check in decided.checks] == [(True, False)]
    sim.settle()
    assert sim.ready("acme") == ("True", "Probed")
    assert sim.serving("acme") == ("True", "Probed")
    assert sim.active("acme").version == digest("one")[:12]
    assert sim.status("acme").size == "42Ki"
    assert sim.status("acme").replicas == 1
    assert sim.status("acme").url == "http://router/predict/acme"


def test_without_a_digest_requests_wait_until_one_slot_has_resolved_it(sim: Simulation) -> None:
    sim.apply("acme", URI)
    sim.step()
    entry = sim.entries["ns.acme"]
    assert not entry.targets
    assert entry.unavailable is not None
    assert entry.unavailable.reason == "FirstLoad"
    sim.settle()
    assert sim.routed("acme")[0] == digest("one")
    assert sim.ready("acme") == ("True", "Probed")


def test_a_load_that_runs_is_not_asked_for_again(sim: Simulation) -> None:
    sim.apply("acme", URI)
    decided = sim.plan()
    (check,) = decided.checks
    assert not plan(replace(sim.world(), pending=frozenset({check}))).checks


def test_a_new_version_is_loaded_on_all_its_slots_before_it_is_routed(sim: Simulation) -> None:
    sim.apply("acme", URI, replicas=2)
    sim.settle()
    sim.apply("acme", NEXT, replicas=2)
    decided = sim.step()
    assert sim.routed("acme") == (digest("one"), ("default-0", "default-1"))
    assert not any(check.verify for check in decided.checks), "the successor is loaded to stay"
    uid = sim.models["ns.acme"].metadata.uid
    while sim.routed("acme")[0] == digest("one"):
        decided = sim.step()
    assert {(slot, uid, digest("two")) for slot in ("default-0", "default-1")} <= sim.loaded
    assert {(r.slot, r.reference.sha256) for r in decided.releases} == {
        ("default-0", digest("one")),
        ("default-1", digest("one")),
    }
    sim.settle()
    assert sim.ready("acme") == ("True", "Probed")
    assert sim.active("acme").generation == 2


@pytest.mark.parametrize(
    ("content", "sha256", "reason"),
    [
        (None, "", "ArtifactNotFound"),
        (f"{BROKEN} bytes", "", "LoadFailed"),
        ("two", digest("something else"), "DigestMismatch"),
    ],
)
def test_a_bad_version_leaves_the_old_one_serving(
    sim: Simulation, content: str | None, sha256: str, reason: str
) -> None:
    sim.apply("acme", URI)
    sim.settle()
    sim.store.pop(NEXT)
    if content is not None:
        sim.store[NEXT] = content
    sim.apply("acme", NEXT, sha256=sha256)
    sim.settle()
    assert sim.ready("acme") == ("False", reason)
    assert sim.serving("acme") == ("True", "Probed")
    assert sim.routed("acme")[0] == digest("one")
    assert reason in sim.events


def test_a_missing_object_is_looked_for_again(sim: Simulation) -> None:
    del sim.store[NEXT]
    sim.apply("acme", NEXT)
    sim.settle(patience=30)
    assert sim.ready("acme") == ("False", "ArtifactNotFound")
    unavailable = sim.entries["ns.acme"].unavailable
    assert unavailable is not None
    assert unavailable.reason == "ArtifactNotFound"
    sim.store[NEXT] = "two"
    sim.settle()
    assert sim.ready("acme") == ("True", "Probed")
    assert sim.routed("acme")[0] == digest("two")


def test_a_pinned_model_that_fails_its_check_is_no_longer_routed(sim: Simulation) -> None:
    sim.apply("acme", URI, sha256=digest("other"))
    sim.settle(patience=30)
    assert sim.routed("acme") == ("", ())
    assert sim.ready("acme") == ("False", "DigestMismatch")
    assert sim.serving("acme") == ("False", "DigestMismatch")
    sim.restart()
    sim.step()
    assert sim.routed("acme") == ("", ()), "a restart must not route it again"


def test_a_store_that_is_down_says_nothing_about_a_version(sim: Simulation) -> None:
    sim.apply("acme", URI)
    sim.settle()
    sim.store_down = True
    sim.apply("acme", NEXT)
    for _ in range(5):
        sim.step()
        sim.pass_time(5)
    assert sim.ready("acme") == ("Unknown", "Verifying")
    assert sim.serving("acme") == ("True", "Probed")
    message = sim.status("acme").conditions[0].message
    assert "does not answer" in message
    assert "keeps serving" in message
    assert ".;" not in message
    sim.store_down = False
    sim.settle()
    assert sim.ready("acme") == ("True", "Probed")


def test_rollback_is_an_update_like_any_other(sim: Simulation) -> None:
    for uri, content in ((URI, "one"), (NEXT, "two"), (URI, "one")):
        sim.apply("acme", uri, sha256=digest(content))
        sim.settle()
        assert sim.ready("acme") == ("True", "Probed")
        assert sim.routed("acme")[0] == digest(content)


def test_overwritten_bytes_are_picked_up_through_the_annotation_only(sim: Simulation) -> None:
    sim.apply("acme", URI)
    sim.settle()
    sim.store[URI] = "overwritten"
    sim.settle()
    assert sim.routed("acme")[0] == digest("one")
    sim.refresh("acme", "monday")
    sim.step()
    assert sim.ready("acme") == ("True", "Probed"), "what serves is still good"
    sim.settle()
    assert sim.routed("acme")[0] == digest("overwritten")
    assert sim.status("acme").last_refresh == "monday"


def test_a_slot_that_sees_other_bytes_reports_it_and_the_old_bytes_keep_serving(sim: Simulation) -> None:
    sim.apply("acme", URI)
    sim.settle()
    sim.store[URI] = "overwritten"
    sim.apply("acme", URI, replicas=2)
    sim.settle(patience=30)
    assert sim.ready("acme") == ("False", "DigestMismatch")
    assert sim.serving("acme") == ("True", "Probed")
    assert sim.routed("acme")[0] == digest("one")


def test_deleted_and_created_again_never_serves_the_old_bytes(sim: Simulation) -> None:
    sim.apply("acme", URI)
    sim.settle()
    sim.delete("acme")
    sim.store[URI] = "new owner"
    sim.apply("acme", URI)
    sim.step()
    assert sim.routed("acme") == ("", ())
    sim.settle()
    assert sim.routed("acme")[0] == digest("new owner")


def test_deleting_takes_it_out_of_the_slices_at_once(sim: Simulation) -> None:
    sim.apply("acme", URI)
    sim.settle()
    sim.delete("acme")
    decided = sim.step()
    assert sim.entries == {}
    assert [release.reference.sha256 for release in decided.releases] == [digest("one")]


def test_a_model_of_many_users_is_on_the_whole_pool(sim: Simulation) -> None:
    sim.apply("acme", "s3://models/acme/{user_id}.onnx")
    sim.settle()
    assert sim.routed("acme") == ("", ("default-0", "default-1"))
    assert sim.ready("acme") == ("True", "NotProbed")
    assert sim.status("acme").url == "http://router/predict/acme:{user_id}"


def test_one_users_artifact_stands_for_all(sim: Simulation) -> None:
    uri = "s3://models/acme/{user_id}.onnx"
    sim.apply("acme", uri, probe_user="42")
    sim.settle(patience=30)
    assert sim.ready("acme") == ("False", "ArtifactNotFound")
    sim.store[uri] = "somebody's"
    sim.settle()
    assert sim.ready("acme") == ("True", "Probed")


def test_a_user_to_probe_with_may_be_named_later(sim: Simulation) -> None:
    uri = "s3://models/acme/{user_id}.onnx"
    sim.apply("acme", uri)
    sim.settle()
    assert sim.ready("acme") == ("True", "NotProbed")
    sim.apply("acme", uri, probe_user="42")
    sim.settle(patience=30)
    assert sim.ready("acme") == ("False", "ArtifactNotFound")
    assert sim.serving("acme") == ("True", "NotProbed"), "other users are served all the while"
    sim.restart()
    sim.step()
    assert sim.ready("acme") == ("False", "ArtifactNotFound")
    sim.store[uri] = "somebody's"
    sim.settle()
    assert sim.ready("acme") == ("True", "Probed")
    sim.restart()
    assert not sim.plan().checks


def test_other_fields_change_what_is_routed_without_a_new_check(sim: Simulation) -> None:
    sim.apply("acme", URI)
    sim.settle()
    loads = len(sim.loaded)
    revision = sim.entries["ns.acme"].revision
    sim.apply("acme", URI, traffic=Traffic(timeout_milliseconds=250))
    decided = sim.step()
    assert not decided.checks
    assert sim.entries["ns.acme"].traffic.timeout_milliseconds == 250
    assert sim.entries["ns.acme"].revision > revision
    sim.step()
    assert sim.ready("acme") == ("True", "Probed")
    assert sim.status("acme").conditions[0].observed_generation == 2
    assert len(sim.loaded) == loads


def test_a_lost_slice_is_written_again_from_the_status(sim: Simulation) -> None:
    sim.apply("acme", URI)
    sim.settle()
    sim.store[URI] = "overwritten"
    sim.slices.clear()
    sim.restart()
    decided = sim.step()
    assert sim.routed("acme")[0] == digest("one")
    assert not decided.statuses


def test_transition_times_stay_while_the_status_does(sim: Simulation) -> None:
    sim.apply("acme", URI)
    sim.settle()
    since = sim.status("acme").conditions[0].last_transition_time
    sim.pass_time(100)
    sim.apply("acme", NEXT, sha256=digest("wrong"))
    sim.settle(patience=10)
    ready, serving = sim.status("acme").conditions
    assert ready.last_transition_time > since
    assert serving.last_transition_time == since
