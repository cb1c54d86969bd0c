"""The protocol class that uvicorn runs for each connection: hot routes directly, the rest through FastAPI."""

from __future__ import annotations

import asyncio

from tenantry_core.http.limits import Budget, Limits
from tenantry_core.http.messages import HotRoutes


def hot_protocol(routes: HotRoutes, limits: Limits, budget: Budget) -> type[asyncio.Protocol]:
    """A class for uvicorn's `http=` that answers `routes` itself and passes on every other request."""
    raise NotImplementedError
