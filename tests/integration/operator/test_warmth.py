"""Pods that are replaced while requests come: no request fails, and none meets a cold model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.controlplane import ControlPlane
from cluster.s3server import S3Server
from integration.harness import START_SECONDS, Installation
from integration.kube import OWN
from integration.waiting import wait_for
from load.background import Background
from load.target import Target, post_json

MODELS = 12
REQUESTS = [post_json(f"/predict/m{number}", [[1.0]]) for number in range(MODELS)]


@pytest.fixture(scope="module")
def installation(plane: ControlPlane, s3_server: S3Server) -> Iterator[Installation]:
    with Installation(plane, s3_server, slots=2) as made:
        made.serve(MODELS)
        yield made


def under_load(installation: Installation) -> Background:
    return Background(Target("127.0.0.1", installation.router_port), REQUESTS, rate=50)


def go_on(load: Background, count: int = 2 * MODELS) -> None:
    seen = len(load.answers)
    wait_for(lambda: len(load.answers) > seen + count, 60, "requests go on")


def test_pods_are_rolled_warm(installation: Installation) -> None:
    old = {pod.uid for pod in installation.kubelet.pods()}
    env = [{"name": "ROLLED", "value": "yes"}]
    with under_load(installation) as load:
        go_on(load)
        installation.kube.merge(f"{OWN}/predictorpools/default", {"spec": {"template": {"env": env}}})
        wait_for(
            lambda: len(pods := installation.kubelet.pods()) == 2 and not old & {pod.uid for pod in pods},
            2 * START_SECONDS,
            "both slots have new pods",
        )
        go_on(load)
    assert load.broken == []
    assert {answer.status for answer in load.answers} == {200}
    assert [answer.route for answer in load.answers if "cache=hit" not in answer.route] == []


def test_an_evicted_pod_serves_until_its_successor_is_warm(installation: Installation) -> None:
    slot = "default-0"
    [old] = installation.kubelet.pods(slot)
    with under_load(installation) as load:
        go_on(load)
        installation.kubelet.evict(slot)
        wait_for(
            lambda: (
                [pod.uid for pod in installation.kubelet.pods(slot) if pod.ready] not in ([], [old.uid])
                and old not in installation.kubelet.pods(slot)
            ),
            2 * START_SECONDS,
            "its successor is ready, and it has ended",
        )
        go_on(load)
    assert load.broken == []
    assert {answer.status for answer in load.answers} == {200}
    assert [answer.route for answer in load.answers if "cache=hit" not in answer.route] == []


def test_the_successor_of_a_lost_pod_turns_ready_warm(installation: Installation) -> None:
    slot = "default-1"
    mine = {model for model, slots in installation.placement().items() if slots == (slot,)}
    assert mine
    installation.kubelet.hold(slot)
    wait_for(lambda: slot not in installation.kubelet.ready_slots(), 60, "its pod is gone")
    installation.kubelet.let_go(slot)
    wait_for(lambda: slot in installation.kubelet.ready_slots(), START_SECONDS, "its successor is ready")
    with under_load(installation) as load:
        wait_for(lambda: any(f"slot={slot};" in a.route for a in load.answers), 60, "it is asked again")
        go_on(load)
    assert {answer.status for answer in load.answers} == {200}
    cold = [a.route for a in load.answers if f"slot={slot};" in a.route and "cache=hit" not in a.route]
    assert cold == []
