"""Which runtime opens which format."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from tenantry_predictor.runtimes import custom, onnx
from tenantry_predictor.runtimes.base import LoadedModel
from tenantry_predictor.runtimes.form import form_name
from tenantry_predictor.runtimes.native import WorkerLoader
from tenantry_predictor.runtimes.readers import FORMATS

Open = Callable[[Path], LoadedModel]


class Runtimes:
    """Opens artifacts. Blocks, so it is called in a thread."""

    def __init__(self) -> None:
        self._form = form_name()
        self._workers = WorkerLoader()
        self._openers: dict[str, Open] = {
            "onnx": onnx.load,
            **{model_format: partial(self._workers.load, model_format) for model_format in FORMATS},
        }

    def open(self, model_format: str, path: Path) -> LoadedModel:
        """Raises LoadError."""
        opener = self._openers.get(model_format)
        if opener is None:
            opener = self._openers[model_format] = custom.opener(model_format)
        return opener(path)

    def form(self, model_format: str) -> str:
        """The name of what is `prepared` of an artifact: opened as another format it is another model."""
        return f"{model_format}.{self._form}"

    def open_prepared(self, content: bytes) -> LoadedModel:
        """What was `prepared` here, of any format. Raises LoadError."""
        return onnx.load_prepared(content)

    def expect(self, formats: Collection[str]) -> None:
        """Get ready for the first load of one of these. Raises OSError."""
        if not FORMATS.keys().isdisjoint(formats):
            self._workers.start()

    def close(self) -> None:
        self._workers.close()
