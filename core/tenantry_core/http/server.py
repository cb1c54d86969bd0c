"""Run an application on one port: one process, or several workers under a supervising parent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tenantry_core.http.limits import Limits
from tenantry_core.http.messages import HotRoutes


class PortTaken(Exception):
    """Another process listens on the address already. The message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Application:
    """What one worker serves: an ASGI application (its lifespan starts and stops things) and hot routes."""

    asgi: Any
    routes: HotRoutes


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and how to serve; times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    worker: int | None = None
    """Set in a worker process by its parent through the flag `--worker N`; callers pass it on."""
    log_level: str = "info"
    graceful_timeout: int = 30
    """How long requests in flight may take to finish after SIGTERM or Ctrl-C."""
    buffer_bytes: int = 256 * 1024 * 1024
    """Request bodies held at a time, over all workers."""
    limits: Limits = field(default_factory=Limits)


def serve(build: Callable[[], Application], settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then let the requests in flight finish, and return.

    `build` is called in the process that serves (never in the parent of several workers). With several
    workers this process starts each as its own command line plus `--worker N`; that command must end up
    here again, with `settings.worker` set. Raises PortTaken at once.
    """
    raise NotImplementedError
