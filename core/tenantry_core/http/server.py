"""Run an application on one port: one process, or several workers under a supervising parent."""

from __future__ import annotations

import gc
import logging
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tenantry_core.http import workers
from tenantry_core.http.drain import LONGEST, Drain, DrainingServer
from tenantry_core.http.limits import Budget, Limits
from tenantry_core.http.messages import HotRoutes
from tenantry_core.http.protocol import hot_protocol
from tenantry_core.http.signals import stopped_by_signals
from tenantry_core.http.sockets import BACKLOG, PortTaken, listen

__all__ = ["Application", "PortTaken", "Settings", "serve"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Application:
    """What one worker serves: an ASGI application (its lifespan starts and stops things) and hot routes."""

    asgi: Any
    routes: HotRoutes
    on_stop: Callable[[], None] = lambda: None
    """Called when the process is told to end: it shall no longer call itself ready."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and how to serve; times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0: any free port; the log names it."""
    workers: int = 1
    worker: int | None = None
    """Set in a worker process by its parent through the flag `--worker N`; callers pass it on."""
    log_level: str = "info"
    drain: float = 0.0
    """After SIGTERM or Ctrl-C it goes on until no request has come for so long, or 25 s have passed."""
    graceful_timeout: int = 30
    """How long the requests that are in flight then may take to finish."""
    buffer_bytes: int = 256 * 1024 * 1024
    """Request bodies held at a time, over all workers."""
    limits: Limits = field(default_factory=Limits)


def serve(build: Callable[[], Application], settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then let the requests in flight finish, and return.

    `build` is called in the process that serves (never in the parent of several workers). With several
    workers this process starts each as its own command line plus `--worker N`; that command must end up
    here again, with `settings.worker` set. Call it from the main thread. Raises PortTaken at once.
    """
    configure_logging(settings.log_level)
    _allow_many_connections()
    # While uvicorn serves, the signals are its own; after its graceful end it raises them once more.
    with stopped_by_signals():
        if settings.worker is not None:
            _run(build, settings, workers.inherited_socket())
            return
        sockets = listen(settings.host, settings.port, count=settings.workers)
        _announce(sockets[0], settings)
        if settings.workers == 1:
            _run(build, settings, sockets[0])
        else:
            draining = LONGEST if settings.drain else 0.0
            workers.supervise(sockets, grace=draining + settings.graceful_timeout)


def configure_logging(level: str) -> None:
    """One short line per event, on stderr."""
    logging.basicConfig(format="%(levelname)-7s %(name)s: %(message)s", level=level.upper(), force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its start and stop are said in our words
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change


def _allow_many_connections() -> None:
    """Each takes a file descriptor; the usual soft limit is one for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _announce(sock: socket.socket, settings: Settings) -> None:
    host, port = sock.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    plural = f", {settings.workers} workers" if settings.workers > 1 else ""
    logger.info("listening on http://%s:%d%s", host, port, plural)


def _run(build: Callable[[], Application], settings: Settings, sock: socket.socket) -> None:
    """Serve in this process on `sock`."""
    application, drain = build(), Drain(settings.drain)
    config = server_config(application, settings, drain)
    gc.freeze()  # what lives as long as the process is not looked through at each collection
    DrainingServer(config, drain, application.on_stop).run([sock])


def server_config(application: Application, settings: Settings, drain: Drain | None = None) -> uvicorn.Config:
    """uvicorn's configuration for `application` behind the hot protocol."""
    budget = Budget(settings.buffer_bytes // settings.workers)
    return uvicorn.Config(
        application.asgi,
        http=hot_protocol(application.routes, settings.limits, budget, drain),
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=settings.graceful_timeout,
    )
