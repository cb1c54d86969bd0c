"""Everything that `tenantry up` runs, as one thing to start, wait for and stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tenantry.running import announced
from tenantry_core.artifacts import ArtifactRefused, check_uri
from tenantry_core.resources import API_VERSION, PredictorPool, from_manifest
from tenantry_core.snapshot import AddressBook, SnapshotFolder, SourceState
from tenantry_operator.definitions import definitions
from tenantry_operator.local.actuator import LocalActuator
from tenantry_operator.local.directory import StateDirectory, StateError
from tenantry_operator.local.processes import LOOPBACK, free_port
from tenantry_operator.local.router import RouterProcess
from tenantry_operator.local.slots import SlotSupervisor
from tenantry_operator.local.source import DirectorySource
from tenantry_operator.local.store import ObjectName, ResourceStore
from tenantry_operator.reconciling.reconciler import Reconciler
from tenantry_operator.reconciling.slot_client import SlotClient
from tenantry_operator.reconciling.state import ObservedState

logger = logging.getLogger(__name__)

POOL = "default"
GRPC_PORT = 9000
"""For gRPC, where nobody said which and it is free."""
SLOTS = 2
"""Slots of a pool that nobody sized: one can fall, and the other serves meanwhile."""
_START_SECONDS = 180.0
"""Slots warm what they served before: models with a process of their own take seconds each."""


class UpError(StateError):
    """It cannot start, or not go on; the message is a sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What to run. What is not given stays as it was when this state directory was last up."""

    state: Path
    port: int = 8080
    """Of the router, on the loopback address; 0: any that is free."""
    grpc_port: int | None = None
    """Of the router for gRPC; 0: any that is free; None: GRPC_PORT, or any while that is taken."""
    slots: int | None = None
    allow: tuple[str, ...] = ()
    """Storage prefixes that models may lie below, beside STATE/models/."""


@dataclass(slots=True)
class _Running:
    """The parts of a system that runs."""

    slots: SlotSupervisor
    router: RouterProcess
    client: SlotClient
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)


class LocalSystem:
    """Planner, router and predictors on this machine.

        async with LocalSystem(UpOptions(state=path, port=0)) as system:
            print(system.url)
            await system.wait()

    The planner runs in this process, the others as its children. Use it in the main thread.
    """

    def __init__(self, options: UpOptions) -> None:
        self._options = options
        self.directory = StateDirectory(options.state)
        self.store = ResourceStore(self.directory)
        self.port = options.port
        self.grpc_port = options.grpc_port or 0
        self._held = contextlib.ExitStack()
        self._running: _Running | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def grpc_address(self) -> str:
        """As gRPC's clients take it."""
        return f"{LOOPBACK}:{self.grpc_port}"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by role: `operator`, `router` and the slots' names."""
        pids = {"operator": os.getpid()}
        if self._running is not None:
            if self._running.router.pid is not None:
                pids["router"] = self._running.router.pid
            pids |= self._running.slots.pids()
        return pids

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything, and return when the router answers and every slot is ready.

        Raises UpError, AlreadyRunning or StateError for what cannot be done, then nothing is left running.
        """
        allowed = _checked_prefixes(self._options.allow)
        _check_nameable(self.directory)
        self.directory.create()
        self._held.enter_context(self.directory.running())
        try:
            self.port = self._options.port or free_port()
            _check_port(self.port, "--port")
            self.grpc_port = _grpc_port(self._options.grpc_port)
            self._ensure_pool(allowed)
            self._held.enter_context(announced(self.directory))
            self._launch()
            await self._until_ready()
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> None:
        """Return never, as long as all is well; raises UpError when a part cannot go on."""
        assert self._running is not None, "start() comes first"
        done, _ = await asyncio.wait(self._running.tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure(done)

    async def stop(self) -> None:
        """Let the requests in flight finish, then stop router, planner and predictors, in this order."""
        running, self._running = self._running, None
        if running is not None:
            await running.router.stop()
            for task in running.tasks.values():
                task.cancel()
            await asyncio.gather(*running.tasks.values(), return_exceptions=True)
            await running.slots.stop()
            await running.client.close()
        self._held.close()

    def _launch(self) -> None:
        folder = SnapshotFolder(self.directory.router)
        folder.write_source(SourceState("local", connected=True, since=time.time()))
        folder.write_addresses(AddressBook())  # what stands there is where slots were, before
        state = ObservedState(router_url=self.url)
        slots = SlotSupervisor(self.directory, state, self._describe)
        client = SlotClient(self._token)
        reconciler = Reconciler(state, LocalActuator(self.directory, slots), client)
        router = RouterProcess(self.directory, self.port, self.grpc_port, self._describe)
        self._running = _Running(slots, router, client)
        parts = {
            "source": DirectorySource(self.directory, state).run(),
            "reconciler": reconciler.run(),
            "router": router.run(),
        }
        self._running.tasks = {name: asyncio.create_task(part, name=name) for name, part in parts.items()}
        self._describe()

    def _describe(self) -> None:
        """Leave word of what runs, for `tenantry` commands and for people."""
        up = {"pid": os.getpid(), "url": self.url, "grpc": self.grpc_address, "pids": self.pids}
        self.directory.describe_up(up)

    def _token(self) -> str:
        return self.directory.token.read_text().split("\n", 1)[0]

    def _ensure_pool(self, allowed: Sequence[str]) -> None:
        """The pool `default`, with what the options say of it."""
        manifest = self._stored_pool() or {
            "apiVersion": API_VERSION,
            "kind": "PredictorPool",
            "metadata": {"name": POOL},
            "spec": {"replicas": SLOTS, "storage": {"prefixes": [self.directory.models_prefix]}},
        }
        spec = dict(manifest["spec"])
        if self._options.slots is not None:
            spec["replicas"] = self._options.slots
        if allowed:
            spec["storage"] = {
                **spec.get("storage", {}),
                "prefixes": [self.directory.models_prefix, *allowed],
            }
        self.store.apply({**manifest, "spec": spec}, "")

    async def _until_ready(self) -> None:
        assert self._running is not None
        tasks = self._running.tasks.values()
        deadline = time.monotonic() + _START_SECONDS
        async with httpx.AsyncClient(trust_env=False) as client:
            while missing := await self._missing(client):
                self._raise_failure({task for task in tasks if task.done()})
                if time.monotonic() > deadline:
                    logs = " and ".join(str(self.directory.log(role)) for role in missing)
                    raise UpError(f"not up within {_START_SECONDS:.0f} s: {', '.join(missing)}; read {logs}")
                await asyncio.sleep(0.05)

    async def _missing(self, client: httpx.AsyncClient) -> list[str]:
        """The router unless it answers, and the slots of the pool that have no ready address."""
        book = SnapshotFolder(self.directory.router).read_addresses()
        ready = {slot.slot for slot in book.slots if slot.ready}
        stored = self._stored_pool()
        wanted = from_manifest(stored, PredictorPool).slot_names() if stored else ()
        missing = [name for name in wanted if name not in ready]
        try:
            live = (await client.get(f"{self.url}/v2/health/live")).is_success
        except httpx.HTTPError:
            live = False
        return missing if live else ["router", *missing]

    def _stored_pool(self) -> dict[str, Any] | None:
        return self.store.get(ObjectName(definitions()["PredictorPool"], "", POOL))

    def _raise_failure(self, done: set[asyncio.Task[None]]) -> None:
        for task in done:
            error = task.exception()
            if error is not None:
                logger.error("the %s failed", task.get_name(), exc_info=error)
                raise UpError(
                    f"the {task.get_name()} cannot go on ({error}): read {self.directory.log('operator')}"
                ) from error


def _check_nameable(directory: StateDirectory) -> None:
    """Artifacts are named by URI, and a URI may not hold everything that a path may."""
    prefix = directory.models_prefix
    try:
        check_uri(f"{prefix}any.onnx", [prefix], namespace="", tenant="")
    except ArtifactRefused as error:
        raise UpError(
            f"models below {directory.path} could not be named by a URI: choose a --state without spaces, "
            "'?', '#', '%' and '\\'"
        ) from error


def _grpc_port(asked: int | None) -> int:
    """Raises UpError for one that was asked for and cannot be used."""
    if asked:
        _check_port(asked, "--grpc-port")
        return asked
    return GRPC_PORT if asked is None and _refusal(GRPC_PORT) is None else free_port()


def _check_port(port: int, option: str) -> None:
    error = _refusal(port)
    if error is not None:
        raise UpError(
            f"port {port} of {LOOPBACK} cannot be used ({error.strerror}): choose another with {option}"
        ) from error


def _refusal(port: int) -> OSError | None:
    """Why nothing can listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return error
    return None


def _checked_prefixes(prefixes: Sequence[str]) -> list[str]:
    """Each with its trailing slash. Raises UpError for one that is none, or whose folder is not there."""
    checked = [prefix if prefix.endswith("/") else f"{prefix}/" for prefix in prefixes]
    for prefix in checked:
        if re.match(r"file:///|(?!file:)[a-z][a-z0-9+-]+://[^/]+/", prefix) is None:
            raise UpError(
                f"{prefix} is no storage prefix: write it like s3://bucket/path/ or file:///folder/"
            )
        folder = Path(prefix.removeprefix("file://").partition("{")[0])
        if prefix.startswith("file://") and not folder.is_dir():
            raise UpError(f"{prefix} cannot be allowed: there is no folder {folder}")
    return checked
