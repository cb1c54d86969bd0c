"""What it costs to learn of every TenantModel: through kopf, and as the operator does it.

    python tests/cluster/build.py    # once
    PYTHONPATH=tests python benchmarks/listing.py [--models 10000]

Both read the same objects from a real API server, each in a process of its own: seconds until the last object
has come, CPU seconds of the process for it, and the most memory that it took.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import time
from collections.abc import Awaitable, Callable

import kopf
from kubernetes.aio.client import ApiClient

from cluster.controlplane import ControlPlane
from integration.kube import OWN
from scale import create_models
from tenantry_core.api_watch import ApiWatch, Collection
from tenantry_core.crds import crd_directory
from tenantry_core.credentials import load_configuration
from tenantry_operator.kubernetes.bulk import ModelSink
from tenantry_operator.kubernetes.login import login
from tenantry_operator.reconciling.state import ObservedState

LONGEST = 300.0
"""Seconds after which a listing is given up."""

Listing = Callable[[int], Awaitable[None]]


def main() -> None:
    """Create the models, read them in either way, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--models", type=int, default=10_000)
    count = parser.parse_args().models
    with ControlPlane() as plane:
        plane.kubectl("apply", "-f", str(crd_directory()))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all")
        asyncio.run(create_models(plane, [f"m{number:06}" for number in range(count)]))
        os.environ["KUBECONFIG"] = str(plane.kubeconfig)
        print(f"{count} models{'seconds':>16}{'CPU s':>10}{'MB':>8}")
        for name, listing in (("kopf", _with_kopf), ("tenantry", _with_bulk)):
            process = multiprocessing.get_context("spawn").Process(
                target=_measure, args=(name, listing, count)
            )
            process.start()
            process.join()


def _measure(name: str, listing: Listing, count: int) -> None:
    began, spent = time.monotonic(), time.process_time()
    asyncio.run(asyncio.wait_for(listing(count), LONGEST))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:<16}{time.monotonic() - began:14.2f}{time.process_time() - spent:10.2f}{memory:8.0f}")


async def _with_kopf(count: int) -> None:
    """A handler that only counts, in an operator that does nothing else."""
    registry, seen, stop = kopf.OperatorRegistry(), set(), asyncio.Event()
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    kopf.on.login(registry=registry)(login)

    @kopf.on.event(OWN.removeprefix("/apis/"), "tenantmodels", registry=registry)
    async def _(uid: str | None, **_: object) -> None:
        seen.add(uid)
        if len(seen) == count:
            stop.set()

    await kopf.operator(
        registry=registry, settings=settings, clusterwide=True, standalone=True, stop_flag=stop
    )


async def _with_bulk(count: int) -> None:
    listed = asyncio.Event()
    async with ApiClient(await load_configuration()) as client:
        sink = ModelSink(ObservedState(), lambda: None)
        collection = Collection(f"{OWN}/tenantmodels", page=500)
        watching = asyncio.create_task(ApiWatch(client, collection, sink, lambda _: listed.set()).run())
        await listed.wait()
        watching.cancel()
        await asyncio.wait({watching})


if __name__ == "__main__":
    main()
