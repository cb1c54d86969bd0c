"""The operator in a cluster: its parts put together, and ended in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes.aio.client import ApiClient

from tenantry_core.credentials import load_configuration
from tenantry_core.resources import API_VERSION
from tenantry_core.tokens import TokenFile
from tenantry_operator.kubernetes import default_pool
from tenantry_operator.kubernetes.actuator import KubernetesActuator
from tenantry_operator.kubernetes.api import Api, Refused, Unreachable
from tenantry_operator.kubernetes.deployments import Deployments
from tenantry_operator.kubernetes.election import Election
from tenantry_operator.kubernetes.feed import Feed
from tenantry_operator.kubernetes.health import Health
from tenantry_operator.kubernetes.release import Release
from tenantry_operator.reconciling.actuator import ActuatorUnavailable, WriteConflict
from tenantry_operator.reconciling.reconciler import Reconciler
from tenantry_operator.reconciling.slot_client import SlotClient
from tenantry_operator.reconciling.state import ObservedState

_LONGEST_BACKOFF = 15.0

logger = logging.getLogger(__name__)


class OperatorStopped(Exception):
    """The operator cannot go on, but a fresh process can; the message says why."""


@dataclass(frozen=True, slots=True)
class Settings:
    release: Release
    router_url: str = ""
    tokens: TokenFile | None = None
    """Of which one is sent to predictors."""
    default_pool: Mapping[str, Any] | None = None
    """A PredictorPool's `spec`."""
    standalone: bool = False
    metrics_port: int | None = None


async def run(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT. Raises OperatorStopped, NoCredentials, and OSError for a port in use."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    api = Api(ApiClient(await load_configuration()))
    try:
        await _unless(stop, _Operator(settings, api, stop).run())
    finally:
        await api.close()


class _Operator:
    def __init__(self, settings: Settings, api: Api, stop: asyncio.Event) -> None:
        self._settings = settings
        self._api = api
        self._stop = stop
        namespace = settings.release.namespace
        self._state = ObservedState(router_url=settings.router_url)
        deployments = Deployments()
        self._feed = Feed(self._state, deployments, api, namespace)
        self._actuator = KubernetesActuator(api, settings.release, deployments, self._feed.slices.versions)
        # The same after a pod's container was started again: it need not wait for its own Lease to run out.
        self._election = Election(api, namespace, f"{socket.gethostname()}_{os.getpid()}")
        self._health = Health(self._feed, self._state)

    async def run(self) -> None:
        """The kubelet is answered from the start: that the API server is away is no reason to be killed."""
        port = self._settings.metrics_port
        server = await self._health.serve(port) if port is not None else None
        try:
            await _served(self._api)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                group.create_task(self._feed.follow())
                group.create_task(self._feed.compare())
                group.create_task(self._lead())
                if self._settings.tokens:
                    group.create_task(self._settings.tokens.follow())
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            if server is not None:
                await server.cleanup()

    async def _watch(self) -> None:
        started = asyncio.Event()
        watching = asyncio.ensure_future(self._feed.watch(started))
        watching.add_done_callback(lambda _: started.set())
        await started.wait()
        # kopf takes the signals for itself, and would end its watches before the Lease is given up.
        _stop_on_signals(self._stop)
        try:
            await asyncio.wait({watching})
        finally:
            await _cancel(watching)
        # kopf retries what the API server or the network may be to blame for; the rest is not told apart.
        raise OperatorStopped(f"the watches have ended: {watching.exception() or 'a signal came early'}")

    async def _lead(self) -> None:
        if self._settings.standalone:
            return await self._reconcile()
        await self._election.acquire()
        reconciling = asyncio.ensure_future(self._reconcile())
        holding = asyncio.ensure_future(self._election.hold())
        try:
            await asyncio.wait({reconciling, holding}, return_when=asyncio.FIRST_COMPLETED)
            if holding.done():
                raise OperatorStopped("another operator may lead now")
            reconciling.result()
        finally:
            # Nothing is written any more when the Lease goes to the next.
            await _cancel(reconciling, holding)
            await self._election.release()

    async def _reconcile(self) -> None:
        self._health.leading = True
        tokens = self._settings.tokens
        slots = SlotClient(lambda: tokens.sent.decode() if tokens else "")
        try:
            await self._state.complete.wait()
            async with asyncio.TaskGroup() as group:
                group.create_task(Reconciler(self._state, self._actuator, slots).run())
                group.create_task(self._actuator.follow_deployments())
                group.create_task(self._bring_default_pool())
        finally:
            self._health.leading = False
            await slots.close()

    async def _bring_default_pool(self) -> None:
        """Once as it begins to lead: who deletes the last pool means it."""
        spec, pools = self._settings.default_pool, self._state.world().pools
        if spec is None or not default_pool.is_wanted(pools):
            return
        try:
            event = await default_pool.apply_default_pool(self._api, spec, pools.get(default_pool.NAME))
        except default_pool.PoolRefused as refusal:
            raise OperatorStopped(str(refusal)) from refusal
        if event is None:
            return
        logger.info(event.message)
        try:
            await self._actuator.record(event)
        except (WriteConflict, ActuatorUnavailable) as error:
            logger.warning("an event could not be recorded: %s", error)


def _first(failure: BaseException) -> BaseException:
    """What went wrong first, within groups of groups."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


async def _served(api: Api) -> None:
    """Returns once the API server answers and knows the resources; says what is missing until then."""
    backoff = 0.5
    while True:
        try:
            await api.get(f"/apis/{API_VERSION}")
        except Unreachable as error:
            logger.warning("cannot reach the API server, trying again: %s", error)
        except Refused as error:
            if error.status == 404:
                logger.warning("%s is not served: install its CustomResourceDefinitions (crds/)", API_VERSION)
            else:
                logger.warning("the API server refuses this operator, trying again: %s", error)
        else:
            return
        await asyncio.sleep(backoff)
        backoff = min(backoff * 2, _LONGEST_BACKOFF)


def _stop_on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Does the work unless it is stopped meanwhile."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        await _cancel(working, stopping)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    """Returns when they have ended. Their failures are the business of who waited for them."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
