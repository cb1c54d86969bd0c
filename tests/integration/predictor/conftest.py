"""One predictor for the tests that leave nothing behind, and a folder that it may read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifacts.graphs import digest
from integration.predictor.processes import PredictorProcess, model

Put = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory, models_folder: Path) -> Iterator[PredictorProcess]:
    folder = tmp_path_factory.mktemp("predictor")
    with PredictorProcess(folder, "--prefix", f"file://{models_folder}/", "--ready-after", "0") as process:
        yield process


@pytest.fixture
def put(models_folder: Path, request: pytest.FixtureRequest) -> Put:
    """Writes an artifact and gives the header fields that name it."""

    def put(data: bytes, name: str = "model", *, pinned: bool = True, tenant: str = "acme") -> dict[str, str]:
        path = models_folder / f"{abs(hash(request.node.nodeid))}-{name}.onnx"
        path.write_bytes(data)
        return model(name, f"file://{path}", digest(data) if pinned else "-", tenant=tenant)

    return put
