"""Upgrades of the release while all models are asked."""

from __future__ import annotations

from importlib.metadata import version

from e2e.conftest import Note
from e2e.installation import SLOTS, Installation
from e2e.rest import settle
from integration.waiting import wait_for

ROLL_SECONDS = 240.0
NEXT = f"{version('tenantry')}-next"
"""Tag of another predictor image, and of the same operator and router: other images to the cluster."""


def test_another_image_reaches_every_part_and_fails_no_request(
    installation: Installation, note: Note
) -> None:
    pods = {pod["metadata"]["name"] for pod in installation.pods("predictor")}
    placed = installation.placement()
    with installation.traffic() as traffic:
        before = traffic.go_on(10)
        since = traffic.now
        installation.upgrade(f"--set=image.tag={NEXT}")
        wait_for(lambda: runs(installation, NEXT), ROLL_SECONDS, "every part runs the other image")
        settle(installation, ROLL_SECONDS)
        traffic.go_on(3)
        during = traffic.window(since)
    note(f"before: {before.summary()}")
    took = traffic.now - since
    note(f"{SLOTS} predictors, routers and operator rolled in {took:.0f} s: {during.summary()}")
    note(f"p99 {during.p99 / before.p99:.2f} of before")
    assert during.failures == []
    assert during.cold == []
    assert pods.isdisjoint(pod["metadata"]["name"] for pod in installation.pods("predictor"))
    assert installation.placement() == placed
    installation.upgrade()


def test_a_new_token_is_taken_up_without_a_failed_request(installation: Installation, note: Note) -> None:
    [old] = installation.secret("tenantry-token")["token"].split()
    with installation.traffic() as traffic:
        since = traffic.now
        traffic.go_on(3)
        installation.upgrade("--set=token.rotation=e2e")
        new, previous = installation.secret("tenantry-token")["token"].split()
        assert (previous, new != old) == (old, True)
        wait_for(lambda: accepted(installation, new), 180, "every predictor accepts the new token")
        settle(installation)
        traffic.go_on(10)
        window = traffic.window(since)
    note(window.summary())
    assert window.failures == []
    assert window.cold == []


def runs(installation: Installation, tag: str) -> bool:
    """Whether every pod of ours runs an image by this tag."""
    pods = [pod for part in ("operator", "router", "predictor") for pod in installation.pods(part)]
    return all(pod["spec"]["containers"][0]["image"].endswith(f":{tag}") for pod in pods)


def accepted(installation: Installation, token: str) -> bool:
    """Whether every predictor answers who shows this token."""
    return all(
        installation.http.get(
            f"http://{pod['status']['podIP']}:8080/v2", headers={"Tenantry-Token": token}
        ).is_success
        for pod in installation.pods("predictor")
    )
