"""Which store reads which URI scheme: the built-in ones, and those that installed packages bring."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import entry_points

from tenantry_predictor.repositories.base import ModelRepository, StoreSettings
from tenantry_predictor.repositories.filesystem import FileSystemModelRepository
from tenantry_predictor.repositories.s3 import S3ModelRepository

logger = logging.getLogger(__name__)

ENTRY_POINTS = "tenantry.repositories"
"""Group of the entry points that bring further stores: named like a URI scheme, each a `MakeStore`."""

MakeStore = Callable[[StoreSettings], ModelRepository]

_BUILT_IN: dict[str, MakeStore] = {
    "file": lambda settings: FileSystemModelRepository(settings.prefixes),
    "s3": lambda settings: S3ModelRepository(settings.s3_endpoint, settings.s3_region),
}


def open_stores(settings: StoreSettings) -> dict[str, ModelRepository]:
    """Stores by scheme: the built-in ones, and those of other schemes that a prefix names.

    A scheme that no package brings is told in the log and left out: models elsewhere are served all the same.
    """
    makers = dict(_BUILT_IN)
    for scheme in sorted({prefix.partition("://")[0] for prefix in settings.prefixes} - makers.keys()):
        for entry_point in entry_points(group=ENTRY_POINTS, name=scheme):
            makers[scheme] = entry_point.load()
        if scheme not in makers:
            logger.warning("no store for %s:// is installed: nothing below that prefix can be read", scheme)
    return {scheme: make(settings) for scheme, make in makers.items()}
