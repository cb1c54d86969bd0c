"""Who leads, by a Lease of the real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_kube_config

from cluster.controlplane import ControlPlane
from integration.kube import Kube
from tenantry_operator.kubernetes.api import Api
from tenantry_operator.kubernetes.election import LEASE, Election

NAMESPACE = "default"
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{LEASE}"
SECONDS = 60.0


class OvertakenApi(Api):
    """Each of the first writes finds that somebody has written since the Lease was read."""

    def __init__(self, client: ApiClient, kube: Kube) -> None:
        super().__init__(client)
        self.overtakes = 0
        self._kube = kube

    async def replace(self, path: str, manifest: Mapping[str, Any]) -> int:
        if self.overtakes:
            self.overtakes -= 1
            self._kube.merge(path, {"metadata": {"annotations": {"overtakes": str(self.overtakes)}}})
        return await super().replace(path, manifest)


@pytest.fixture
def lease(plane: ControlPlane, kube: Kube) -> Iterator[Callable[[], Any]]:
    """Its `spec`, as it is now; there is none before the test."""
    plane.kubectl("delete", "lease", LEASE, f"--namespace={NAMESPACE}", "--ignore-not-found")
    yield lambda: kube.get(PATH)["spec"]
    kube.delete(PATH)


@asynccontextmanager
async def api_server(plane: ControlPlane, kube: Kube) -> AsyncIterator[OvertakenApi]:
    configuration = Configuration()
    await load_kube_config(str(plane.kubeconfig), client_configuration=configuration)
    async with ApiClient(configuration) as client:
        yield OvertakenApi(client, kube)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(SECONDS):
            await scenario()

    asyncio.run(limited())


@pytest.mark.parametrize("overtakes", [0, 1, 3])
def test_a_leader_that_ends_gives_its_lease_up_whatever_comes_between(
    plane: ControlPlane, kube: Kube, lease: Callable[[], Any], overtakes: int
) -> None:
    async def scenario() -> None:
        async with api_server(plane, kube) as api:
            first, second = (Election(api, NAMESPACE, name) for name in ("first", "second"))
            await first.acquire()
            assert lease()["holderIdentity"] == "first"
            api.overtakes = overtakes
            await first.release()
            assert api.overtakes == 0
            assert lease()["holderIdentity"] == ""
            await second.acquire()
            assert (lease()["holderIdentity"], lease()["leaseTransitions"]) == ("second", 1)

    run(scenario)


def test_a_lease_that_another_one_has_taken_is_left_alone(
    plane: ControlPlane, kube: Kube, lease: Callable[[], Any]
) -> None:
    async def scenario() -> None:
        async with api_server(plane, kube) as api:
            late = Election(api, NAMESPACE, "late")
            await late.acquire()
            kube.merge(PATH, {"spec": {"holderIdentity": "successor"}})
            await late.release()
            assert lease()["holderIdentity"] == "successor"

    run(scenario)
