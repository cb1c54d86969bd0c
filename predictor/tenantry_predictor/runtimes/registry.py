"""Which runtime opens which format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

from tenantry_predictor.runtimes import onnx
from tenantry_predictor.runtimes.base import LoadedModel, LoadError
from tenantry_predictor.runtimes.native import WorkerLoader
from tenantry_predictor.runtimes.readers import FORMATS

ENTRY_POINTS = "tenantry.models"
"""Group of the entry points that bring further formats; each names a callable Path -> LoadedModel."""

Open = Callable[[Path], LoadedModel]


class Runtimes:
    """Opens artifacts. Blocks, so it is called in a thread."""

    def __init__(self) -> None:
        self._workers = WorkerLoader()
        self._openers: dict[str, Open] = {
            "onnx": onnx.load,
            **{model_format: partial(self._workers.load, model_format) for model_format in FORMATS},
        }

    def open(self, model_format: str, path: Path) -> LoadedModel:
        """Raises LoadError."""
        opener = self._openers.get(model_format)
        if opener is None:
            opener = self._openers[model_format] = _installed(model_format)
        return opener(path)

    def close(self) -> None:
        self._workers.close()


def _installed(model_format: str) -> Open:
    for entry_point in entry_points(group=ENTRY_POINTS, name=model_format):
        opener: Open = entry_point.load()
        return opener
    raise LoadError("LoadFailed", f"No runtime for the format {model_format!r} is installed here.")
