"""Who follows `docs/publish.md` has published models and is answered by them."""

from __future__ import annotations

from pathlib import Path

from docs.following import follow


def test_publish(tmp_path: Path) -> None:
    follow("publish.md", tmp_path)
