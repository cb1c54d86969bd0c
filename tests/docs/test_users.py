"""Who follows `docs/users.md` has users with the models they were given, and with models of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.following import follow


def test_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "users.db"
    monkeypatch.setenv("TENANTRY_USERS_DATABASE", f"sqlite:///{database}")
    follow("users.md", tmp_path, substitutes={"/tmp/users.db": str(database)})
