"""`clients.md`: each of its commands; those in Java and Go where these are installed."""

from __future__ import annotations

from pathlib import Path

from docs.following import follow


def test_clients(tmp_path: Path) -> None:
    follow("clients.md", tmp_path)
