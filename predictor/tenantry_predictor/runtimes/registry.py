"""Which runtime opens which format."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from tenantry_predictor.runtimes import onnx
from tenantry_predictor.runtimes.base import LoadedModel, LoadError

if TYPE_CHECKING:
    from tenantry_predictor.runtimes.sklearn import SkopsLoader

ENTRY_POINTS = "tenantry.models"
"""Group of the entry points that bring further formats; each names a callable Path -> LoadedModel."""

Open = Callable[[Path], LoadedModel]


class Runtimes:
    """Opens artifacts. Blocks, so it is called in a thread."""

    def __init__(self) -> None:
        self._skops: SkopsLoader | None = None
        self._lock = threading.Lock()
        self._openers: dict[str, Open] = {"onnx": onnx.load, "skops": self._load_skops}

    def open(self, model_format: str, path: Path) -> LoadedModel:
        """Raises LoadError."""
        opener = self._openers.get(model_format)
        if opener is None:
            opener = self._openers[model_format] = _installed(model_format)
        return opener(path)

    def close(self) -> None:
        if self._skops is not None:
            self._skops.close()

    def _load_skops(self, path: Path) -> LoadedModel:
        with self._lock:
            if self._skops is None:  # most predictors serve ONNX only and need no child processes
                from tenantry_predictor.runtimes.sklearn import SkopsLoader

                self._skops = SkopsLoader()
        model: LoadedModel = self._skops.load(path)
        return model


def _installed(model_format: str) -> Open:
    for entry_point in entry_points(group=ENTRY_POINTS, name=model_format):
        opener: Open = entry_point.load()
        return opener
    raise LoadError("LoadFailed", f"No runtime for the format {model_format!r} is installed here.")
