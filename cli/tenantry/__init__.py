"""Tenantry for a program: publish models, and ask for predictions.

What is imported from here is loaded when it is first used: an application that only predicts needs
`tenantry[client]`, a training job that publishes needs `tenantry[all]`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenantry.client.answers import Inference, Prediction, Route
    from tenantry.client.asynchronous import AsyncClient
    from tenantry.client.errors import TenantryError
    from tenantry.client.sync import Client
    from tenantry.publishing.errors import PublishError
    from tenantry.publishing.publisher import Published, publish

__all__ = [
    "AsyncClient",
    "Client",
    "Inference",
    "Prediction",
    "PublishError",
    "Published",
    "Route",
    "TenantryError",
    "publish",
]

_PLACES = {
    "AsyncClient": "tenantry.client.asynchronous",
    "Client": "tenantry.client.sync",
    "Inference": "tenantry.client.answers",
    "Prediction": "tenantry.client.answers",
    "PublishError": "tenantry.publishing.errors",
    "Published": "tenantry.publishing.publisher",
    "Route": "tenantry.client.answers",
    "TenantryError": "tenantry.client.errors",
    "publish": "tenantry.publishing.publisher",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_PLACES[name]), name)
    except ModuleNotFoundError as error:
        extra = "client" if _PLACES[name].startswith("tenantry.client.") else "all"
        raise ModuleNotFoundError(
            f"tenantry.{name} needs {error.name}: pip install 'tenantry[{extra}]'", name=error.name
        ) from error
