"""Parts that fail while predictions go on: no client sees an error, and nothing moves that need not."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cluster.controlplane import ControlPlane
from cluster.s3server import S3Server
from integration.harness import NAMESPACE, START_SECONDS, Installation
from integration.kube import OWN
from integration.waiting import wait_for
from load.generator import measure
from load.result import Result
from load.target import Target, post_json

MODELS = 12
OUTAGE_SECONDS = float(os.environ.get("TENANTRY_OUTAGE_SECONDS", "6"))
"""How long the API server is away; a minute for those who have the time."""
KILLS = 3


@pytest.fixture(scope="module")
def installation(plane: ControlPlane, s3_server: S3Server) -> Iterator[Installation]:
    with Installation(plane, s3_server, slots=3) as made:
        made.serve(MODELS)
        yield made


@contextmanager
def under_load(installation: Installation, *, rate: float = 100.0) -> Iterator[Result]:
    """Requests to every model in turn, each answer checked, from before until after what happens inside."""
    done = threading.Event()
    target = Target("127.0.0.1", installation.router_port)
    total = Result()

    def ask(number: int) -> bytes:
        return post_json(f"/predict/m{number % MODELS}", [[1.0]])

    def right(number: int, status: int, body: bytes) -> bool:
        return status == 200 and json.loads(body) == [number % MODELS + 1]

    def work() -> None:
        while not done.is_set():
            part = measure(target, ask, connections=8, count=10_000, seconds=1.0, rate=rate, check=right)
            total.statuses.update(part.statuses)
            total.broken.update(part.broken)
            total.wrong += part.wrong
            total.latencies.extend(part.latencies)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        wait_for(lambda: total.answered, 60, "the load has begun")
        yield total
        before = total.answered
        wait_for(lambda: total.answered > before, 60, "the load has gone on to the end")
    finally:
        done.set()
        worker.join()


@pytest.mark.slow
def test_without_the_api_server_predictions_go_on(installation: Installation) -> None:
    with under_load(installation) as result:
        installation.plane.stop_api_server()
        outage = threading.Event()
        outage.wait(OUTAGE_SECONDS)
        installation.plane.start_api_server()
    assert result.errors == 0, result.summary()
    # And changes are heard of again.
    installation.apply("after", installation.publish("after", 1, 100))
    installation.wait_answers("after", 101)
    installation.wait_ready("after")


def test_an_operator_that_was_killed_changes_nothing_when_it_is_back(installation: Installation) -> None:
    written = versions(installation)
    with under_load(installation) as result:
        installation.operator.stop()
        installation.start_operator()
        # It has seen everything and planned when something new is ready.
        installation.apply("new", installation.publish("new", 1, 50))
        installation.wait_ready("new", seconds=START_SECONDS)
        wait_for(lambda: settled(installation), 60, "the operator has come to rest")
    assert result.errors == 0, result.summary()
    after = versions(installation)
    moved = {name for name, version in written.items() if after[name] != version}
    # Only the slices may change, and in them only what was added.
    assert {name for name in moved if not name.startswith("placement")} <= {"default"}


def test_a_slice_that_somebody_damaged_is_written_anew(installation: Installation) -> None:
    slices = f"{OWN}/namespaces/{NAMESPACE}/placementslices"
    placed = installation.placement()
    damaged = next(item for item in installation.kube.items(slices) if item.get("entries"))
    nothing_left = [{"model": entry["model"]} for entry in damaged["entries"]]
    with under_load(installation) as result:
        installation.kube.merge(f"{slices}/{damaged['metadata']['name']}", {"entries": nothing_left})
        wait_for(lambda: installation.placement() == placed, 60, "all models are in the slices again")
    assert result.errors == 0, result.summary()


@pytest.mark.slow
def test_a_predictor_killed_again_and_again_costs_no_request(installation: Installation) -> None:
    slots = sorted(installation.kubelet.ready_slots())
    with under_load(installation) as result:
        for number in range(KILLS):
            [pod] = installation.kubelet.pods(slots[number % len(slots)])
            before = pod.restarts
            installation.kubelet.kill(pod.slot)
            wait_for(
                lambda pod=pod, before=before: pod.restarts > before and pod.ready,  # type: ignore[misc]
                START_SECONDS,
                f"{pod.slot} is back",
            )
    assert result.errors == 0, result.summary()


@pytest.mark.slow
def test_scaling_moves_only_what_must_move(installation: Installation) -> None:
    before = installation.placement()
    with under_load(installation) as result:
        installation.scale(4)
        wait_for(lambda: len(installation.kubelet.ready_slots()) == 4, START_SECONDS, "the new slot is ready")
        wait_for(lambda: slot_is_used(installation, "default-3"), 60, "the new slot has its share")
        more = installation.placement()
        assert all(more[model] in (slots, ("default-3",)) for model, slots in before.items())
        installation.scale(3)
        wait_for(lambda: not slot_is_used(installation, "default-3"), 60, "the slot that leaves is empty")
        wait_for(lambda: len(installation.kubelet.pods()) == 3, START_SECONDS, "its pod has ended")
    assert result.errors == 0, result.summary()
    after = installation.placement()
    assert all(after[m] == more[m] for m in after if more.get(m) != ("default-3",))


@pytest.mark.slow
def test_a_slot_that_does_not_come_back_has_its_share_placed_elsewhere(installation: Installation) -> None:
    before = installation.placement()
    with under_load(installation) as result:
        installation.kubelet.hold("default-1")
        wait_for(lambda: not slot_is_used(installation, "default-1"), START_SECONDS, "it has no share left")
        elsewhere = installation.placement()
        installation.kubelet.let_go("default-1")
        wait_for(lambda: len(installation.kubelet.ready_slots()) == 3, START_SECONDS, "the slot is back")
    assert result.errors == 0, result.summary()
    assert all(elsewhere[m] == slots for m, slots in before.items() if "default-1" not in slots)


def slot_is_used(installation: Installation, slot: str) -> bool:
    return any(slot in slots for slots in installation.placement().values())


def versions(installation: Installation) -> dict[str, str]:
    """resourceVersion of every slice, model and pool, by name."""
    paths = [
        f"{OWN}/namespaces/{NAMESPACE}/placementslices",
        f"{OWN}/namespaces/default/tenantmodels",
        f"{OWN}/predictorpools",
    ]
    found = [manifest for path in paths for manifest in installation.kube.items(path)]
    return {m["metadata"]["name"]: m["metadata"]["resourceVersion"] for m in found}


def settled(installation: Installation) -> bool:
    """Two looks, a second apart, show the same."""
    before = versions(installation)
    threading.Event().wait(1.0)
    return versions(installation) == before
