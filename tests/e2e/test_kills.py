"""Pods that are killed or hang while all models are asked."""

from __future__ import annotations

from functools import partial
from typing import Any

from e2e import processes
from e2e.conftest import Note
from e2e.installation import NAMESPACE, Installation
from e2e.rest import settle
from e2e.traffic import Traffic, Window
from integration.waiting import wait_for

BACK_SECONDS = 180.0
OUT_SECONDS = 5.0
"""Meant are two; the rest is for a machine that has more to do. How long it took is noted."""


def test_a_predictor_that_is_deleted_at_once_costs_no_request(installation: Installation, note: Note) -> None:
    with installation.traffic() as traffic:
        window = deleting(installation, traffic, installation.predictor("default-1"))
    note(window.summary())
    assert window.failures == []
    assert not window.broken


def test_a_predictor_that_crashes_costs_no_request(installation: Installation, note: Note) -> None:
    with installation.traffic() as traffic:
        window = crashing(installation, traffic, installation.predictor("default-1"))
    note(window.summary())
    assert window.failures == []
    assert not window.broken


def test_an_operator_that_is_deleted_at_once_costs_no_request_and_moves_nothing(
    installation: Installation, note: Note
) -> None:
    entries = installation.entries()
    with installation.traffic() as traffic:
        [operator] = installation.pods("operator")
        window = deleting(installation, traffic, operator)
        traffic.go_on(15)  # time to plan
    note(window.summary())
    assert window.failures == []
    assert window.cold == []
    assert not window.broken
    assert installation.entries() == entries


def test_a_router_that_is_deleted_at_once_costs_only_connections(
    installation: Installation, note: Note
) -> None:
    with installation.traffic() as traffic:
        window = deleting(installation, traffic, installation.pods("router")[0])
    note(window.summary())
    assert window.failures == []
    assert window.cold == []


def test_a_router_that_crashes_costs_only_connections(installation: Installation, note: Note) -> None:
    with installation.traffic() as traffic:
        window = crashing(installation, traffic, installation.pods("router")[0])
    note(window.summary())
    assert window.failures == []
    assert window.cold == []


def test_a_predictor_that_hangs_is_out_of_rotation_and_comes_back(
    installation: Installation, note: Note
) -> None:
    slot = "default-2"
    predictor = installation.predictor(slot)
    tenant = next(t.name for t in installation.tenants if placed(installation, t.name) == {slot})
    routers = installation.pods("router")
    assert len(routers) == 2
    with installation.traffic() as traffic:
        traffic.go_on(3)
        since = traffic.now
        with processes.stopped(predictor):
            for router in routers:
                away = partial(is_out, installation, router, tenant, slot)
                wait_for(away, OUT_SECONDS, f"{slot} is out of rotation in {router['metadata']['name']}")
            out = traffic.now - since
            elsewhere = traffic.go_on(5)
        for router in routers:
            back_in = partial(is_in, installation, router, tenant, slot)
            wait_for(back_in, BACK_SECONDS, f"{slot} is back in {router['metadata']['name']}")
        back = traffic.go_on(3)
        window = traffic.window(since)
    note(f"out of rotation in both routers after {out:.2f} s")
    note(window.summary())
    assert window.failures == []
    assert slot not in elsewhere.slots
    assert back.slots[slot] > 0
    assert restarts(installation, predictor["metadata"]["name"]) == restarts_of(predictor)


def crashing(installation: Installation, traffic: Traffic, pod: dict[str, Any]) -> Window:
    """From a moment before the crash until its container runs again and some seconds more."""
    name = pod["metadata"]["name"]
    since = traffic.now
    traffic.go_on(3)
    processes.kill(pod)
    wait_for(lambda: restarts(installation, name) > restarts_of(pod), BACK_SECONDS, f"{name} is restarted")
    settle(installation, BACK_SECONDS)
    traffic.go_on(3)
    return traffic.window(since)


def restarts(installation: Installation, name: str) -> int:
    return next(restarts_of(pod) for pod in installation.items("pods") if pod["metadata"]["name"] == name)


def restarts_of(pod: dict[str, Any]) -> int:
    return sum(status["restartCount"] for status in pod["status"]["containerStatuses"])


def deleting(installation: Installation, traffic: Traffic, pod: dict[str, Any]) -> Window:
    """From a moment before the kill until its successor is there and some seconds more."""
    name = pod["metadata"]["name"]
    since = traffic.now
    traffic.go_on(3)
    installation.kubectl(
        "delete", "pod", name, f"--namespace={NAMESPACE}", "--force", "--grace-period=0", "--wait=false"
    )
    wait_for(lambda: gone(installation, name), BACK_SECONDS, f"{name} is gone")
    settle(installation, BACK_SECONDS)
    traffic.go_on(3)
    return traffic.window(since)


def gone(installation: Installation, name: str) -> bool:
    return all(pod["metadata"]["name"] != name for pod in installation.items("pods"))


def placed(installation: Installation, tenant: str) -> frozenset[str]:
    return installation.placement()[f"default.{tenant}"]


def is_out(installation: Installation, router: dict[str, Any], tenant: str, slot: str) -> bool:
    return not is_in(installation, router, tenant, slot)


def is_in(installation: Installation, router: dict[str, Any], tenant: str, slot: str) -> bool:
    candidates = installation.explain(router, tenant)["candidates"]
    return any(c["slot"] == slot and c["ready"] and not c["ejected"] for c in candidates)
