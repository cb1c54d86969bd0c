"""Who is behind each slot, as EndpointSlices tell."""

from __future__ import annotations

from typing import Any

from tenantry_operator.kubernetes.endpoints import instances_by_slot
from tenantry_operator.world import Instance


def endpoint_slice(*endpoints: dict[str, Any], port: str = "http") -> dict[str, Any]:
    return {
        "metadata": {"name": "s", "labels": {"tenantry.dev/pool": "default"}},
        "ports": [{"name": "metrics", "port": 9}, {"name": port, "port": 8080}],
        "endpoints": list(endpoints) or None,
    }


def endpoint(
    address: str, slot: str | None = "default-0", uid: str = "", **conditions: bool
) -> dict[str, Any]:
    made: dict[str, Any] = {"addresses": [address], "conditions": conditions}
    if slot:
        made["hostname"] = slot
    if uid:
        made["targetRef"] = {"kind": "Pod", "uid": uid}
    return made


def test_a_slot_that_surges_has_two_instances() -> None:
    old = endpoint("10.0.0.1", uid="u1", ready=False, serving=True, terminating=True)
    new = endpoint("10.0.0.2", uid="u2", ready=True)
    [instances] = instances_by_slot([endpoint_slice(old, new)]).values()
    assert sorted(instances, key=lambda i: i.id) == [
        Instance("u1", "10.0.0.1", 8080, ready=False, terminating=True),
        Instance("u2", "10.0.0.2", 8080, ready=True),
    ]


def test_a_pod_in_two_slices_is_one_instance() -> None:
    one, other = endpoint_slice(endpoint("10.0.0.1", uid="u")), endpoint_slice(endpoint("10.0.0.1", uid="u"))
    assert [len(i) for i in instances_by_slot([one, other]).values()] == [1]


def test_without_a_pod_the_address_tells_instances_apart() -> None:
    [[instance]] = instances_by_slot([endpoint_slice(endpoint("10.0.0.1"))]).values()
    assert instance.id == "10.0.0.1:8080"


def test_an_endpoint_that_says_nothing_of_readiness_is_ready() -> None:
    [[instance]] = instances_by_slot([endpoint_slice(endpoint("10.0.0.1"))]).values()
    assert instance.ready


def test_what_is_no_slot_is_left_out() -> None:
    assert instances_by_slot([endpoint_slice(endpoint("10.0.0.1", slot=None)), endpoint_slice()]) == {}
    assert instances_by_slot([endpoint_slice(endpoint("10.0.0.1"), port="other")]) == {}
