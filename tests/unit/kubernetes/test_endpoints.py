"""Who is behind each slot, as EndpointSlices tell."""

from __future__ import annotations

from typing import Any

from tenantry_operator.kubernetes.endpoints import Endpoints
from tenantry_operator.planning.world import Instance


def instances(*slices: dict[str, Any]) -> dict[tuple[str, str], list[Instance]]:
    endpoints = Endpoints()
    for manifest in slices:
        endpoints.put(manifest)
    return endpoints.instances()


def endpoint_slice(*endpoints: dict[str, Any], port: str = "http", name: str = "s") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"tenantry.dev/pool": "default"}},
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
    [found] = instances(endpoint_slice(old, new)).values()
    assert sorted(found, key=lambda i: i.id) == [
        Instance("u1", "10.0.0.1", 8080, ready=False, terminating=True),
        Instance("u2", "10.0.0.2", 8080, ready=True),
    ]


def test_a_pod_in_two_slices_is_one_instance() -> None:
    one = endpoint_slice(endpoint("10.0.0.1", uid="u"), name="one")
    other = endpoint_slice(endpoint("10.0.0.1", uid="u"), name="other")
    assert [len(found) for found in instances(one, other).values()] == [1]


def test_without_a_pod_the_address_tells_instances_apart() -> None:
    [[instance]] = instances(endpoint_slice(endpoint("10.0.0.1"))).values()
    assert instance.id == "10.0.0.1:8080"


def test_an_endpoint_that_says_nothing_of_readiness_is_ready() -> None:
    [[instance]] = instances(endpoint_slice(endpoint("10.0.0.1"))).values()
    assert instance.ready


def test_what_is_no_slot_is_left_out() -> None:
    assert instances(endpoint_slice(endpoint("10.0.0.1", slot=None)), endpoint_slice()) == {}
    assert instances(endpoint_slice(endpoint("10.0.0.1"), port="other")) == {}


def test_a_container_that_was_restarted_in_its_pod_is_another_instance() -> None:
    endpoints = Endpoints()
    seen = []
    for ready in (False, True, False, True, False):
        endpoints.put(endpoint_slice(endpoint("10.0.0.1", uid="u", ready=ready)))
        [[instance]] = endpoints.instances().values()
        seen.append(instance.id)
    assert seen[0] == seen[1]
    assert seen[2] == seen[3]
    assert len({seen[0], seen[2], seen[4]}) == 3
