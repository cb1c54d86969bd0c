"""Tenantry for a program: publish models, and ask for predictions.

What is imported from here is loaded when it is first used: an application that only predicts needs
`tenantry[client]`, a training job that publishes needs `tenantry[all]`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenantry.publishing.errors import PublishError
    from tenantry.publishing.publisher import Published, publish

__all__ = ["PublishError", "Published", "publish"]

_PLACES = {
    "PublishError": "tenantry.publishing.errors",
    "Published": "tenantry.publishing.publisher",
    "publish": "tenantry.publishing.publisher",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
