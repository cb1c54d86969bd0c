"""`clients.md`: each of its commands; those in Java and Go where these are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.following import follow


@pytest.mark.timeout(600)  # Go compiles its own library, once on a machine
def test_clients(tmp_path: Path) -> None:
    follow("clients.md", tmp_path)
