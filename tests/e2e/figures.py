"""What was measured, printed when all is done."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest


@dataclass
class Figures:
    """Lines by the test that noted them, in order."""

    lines: dict[str, list[str]] = field(default_factory=dict)

    def note(self, test: str, line: str) -> None:
        self.lines.setdefault(test, []).append(line)


KEY = pytest.StashKey[Figures]()
