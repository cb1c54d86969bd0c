"""One worker process: the table, the fleet, and what keeps them current, put together."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenantry_core.http.client import Pool
from tenantry_core.snapshot import SlotAddress
from tenantry_core.tokens import TokenFile
from tenantry_router import metrics
from tenantry_router.destination import Destination, Destinations
from tenantry_router.fields import Fields
from tenantry_router.fleet import PREDICTOR_PORT, Fleet
from tenantry_router.folder import Follower
from tenantry_router.forward import Forwarder
from tenantry_router.health import Prober
from tenantry_router.identity import named_caller, user_in_body
from tenantry_router.model_info import ModelInfoRepository, ModelNames, TableModelInfoRepository
from tenantry_router.table import Table

logger = logging.getLogger(__name__)

_CONNECTIONS = 256
"""To one slot. Each carries one request: those that wait for a load must leave enough for the others."""


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    address: str
    """`host:port`."""
    shared: bool
    """Whether other worker processes listen there too."""


@dataclass(frozen=True, slots=True)
class Settings:
    snapshot: Path
    default_timeout: float = 10.0
    """Seconds for a request where neither the client nor the model says how long."""
    tokens: TokenFile | None = None
    """Of which one is sent to predictors; None: none."""
    fed: bool = False
    """The folder is fed from elsewhere: while it is empty it says nothing yet."""
    users_database: str = ""
    """Its URL; without one, manifests alone tell which model answers whom."""
    grpc: GrpcSettings | None = None
    """None: HTTP only."""


class Router:
    """The parts of a router. Nothing runs until `running` is entered."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.table = Table()
        self.fleet = Fleet(_connect)
        self.models = _model_info(settings.users_database, self.table)
        self.names = ModelNames(self.table)
        self.forwarder = Forwarder(self.fleet, settings.tokens.sent if settings.tokens else b"")
        self.destinations = Destinations(self.table, self.models, self.forwarder.load_times)
        self.follower = Follower(settings.snapshot, self.table, self.fleet)
        self.ending = False
        metrics.show(self.table, self.fleet, lambda: self.follower.source)

    def end(self) -> None:
        """Turn unready for good; what still comes is answered."""
        self.ending = True

    def is_ready(self) -> bool:
        """Whether there is anything to serve by: one that was never fed would call every model unknown."""
        source = self.follower.source
        return not self.settings.fed or bool(self.table.models) or (source is not None and source.connected)

    def is_serving(self) -> bool:
        """Ready, and not told to end."""
        return self.is_ready() and not self.ending

    def named(
        self, fields: Fields, name: str, version: str | None, body_user: Callable[[], str]
    ) -> Destination:
        """Of a request that names its model. `body_user` is asked only where nothing else tells the user.

        Raises Problem: 400 malformed, 403, 404, 409 ambiguous, 503 without a version that could answer.
        """
        who = named_caller(fields)
        model = self.names.find(name, who)
        user = who.user
        if user is None and model.per_user and (given := body_user()):
            user = user_in_body(given, model.tenant)
        return self.destinations.of_model(model, user, version)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The folder has been read, and is followed until the end."""
        self.settings.snapshot.mkdir(parents=True, exist_ok=True)
        await self.follower.look()
        gc.collect()
        gc.freeze()  # or every full collection would walk the whole table, for a tenth of a second
        prober = Prober(self.fleet, self.forwarder.health)
        try:
            async with asyncio.TaskGroup() as tasks:
                jobs = [tasks.create_task(job) for job in self._jobs(prober)]
                for job in jobs:
                    job.add_done_callback(_end_with_it)
                yield
                for job in jobs:
                    job.cancel()
        finally:
            self.fleet.close()
            await self.models.close()

    def _jobs(self, prober: Prober) -> Iterator[Coroutine[Any, Any, None]]:
        yield self.follower.follow()
        yield prober.run()
        yield self.forwarder.watch_deadlines()
        if tokens := self.settings.tokens:
            yield tokens.follow(lambda: self.forwarder.use_token(tokens.sent))


def _model_info(database: str, table: Table) -> ModelInfoRepository:
    """Raises UrlRefused."""
    if not database:
        return TableModelInfoRepository(table)
    from tenantry_router.sql_model_info import SqlAlchemyModelInfoRepository  # SQLAlchemy takes 25 MB
    from tenantry_router.users_database import UsersDatabase

    return SqlAlchemyModelInfoRepository(table, UsersDatabase(database))


def _end_with_it(job: asyncio.Task[None]) -> None:
    """A router that no longer follows the folder must not go on as if it did: let it be started again."""
    if not job.cancelled() and job.exception() is not None:
        logger.critical("the router ends: a part of it has failed", exc_info=job.exception())
        signal.raise_signal(signal.SIGTERM)


def _connect(address: SlotAddress) -> Pool:
    return Pool(address.host, address.ports[PREDICTOR_PORT], max_connections=_CONNECTIONS)
