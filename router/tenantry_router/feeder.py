"""The feeder: a process beside the workers that mirrors the API server into the snapshot folder.

There is one per pod, so the API server sees one watch a collection however many workers serve. The folder is
never emptied because the API server is away: files go only when a complete list, or a watch, says so.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial
from pathlib import Path

from kubernetes.aio.client import ApiClient

from tenantry_core.api_watch import ApiWatch, Collection, Sink
from tenantry_core.credentials import load_configuration
from tenantry_core.resources import GROUP, POOL_LABEL, VERSION
from tenantry_core.snapshot import SnapshotFolder
from tenantry_router.mirror import AddressMirror, Contact, SliceMirror


def run(path: Path, namespace: str) -> None:
    """Feed until the parent process ends, which closes this one's standard input.

    Ctrl-C reaches every process of a terminal: the parent decides when it is over. Raises NoCredentials.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_run(SnapshotFolder(path), namespace))


async def _run(folder: SnapshotFolder, namespace: str) -> None:
    feeding = asyncio.create_task(feed(folder, namespace))
    parent = asyncio.create_task(_end_of_input())
    done, _ = await asyncio.wait({feeding, parent}, return_when=asyncio.FIRST_COMPLETED)
    feeding.cancel()
    if feeding in done:
        feeding.result()


async def feed(folder: SnapshotFolder, namespace: str) -> None:
    """Mirror until cancelled. Raises NoCredentials."""
    collections: list[tuple[Collection, Sink[bytes]]] = [
        (
            Collection(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/placementslices"),
            SliceMirror(folder),
        ),
        (
            Collection(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", POOL_LABEL),
            AddressMirror(folder),
        ),
    ]
    contact = Contact(folder, len(collections))
    async with ApiClient(await load_configuration()) as api, asyncio.TaskGroup() as tasks:
        for number, (collection, sink) in enumerate(collections):
            tasks.create_task(ApiWatch(api, collection, sink, partial(contact.report, number)).run())


async def _end_of_input() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
