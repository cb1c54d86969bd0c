"""Databases for the tests of who is mapped to which model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.users.postgres import Postgres, programs


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    folder = programs()
    if folder is None:
        pytest.skip("NO POSTGRESQL HERE: install the package postgresql to run these tests")
    with Postgres(folder) as server:
        yield server
