"""The tables of docs/operations.md as data: which metrics there are, and with which labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

GUIDE = Path(__file__).resolve().parents[1] / "docs/operations.md"
PARTS = ("Router", "Predictor", "Operator")
_EVERYWHERE = "All parts"
_ROW = re.compile(r"^\| `(tenantry_[a-z_]+)` \| (counter|gauge|histogram) \|([^|]*)\|", re.MULTILINE)


class Documented(NamedTuple):
    type: str
    labels: frozenset[str]


def documented(*parts: str) -> dict[str, Documented]:
    """Metrics by name, of these parts."""
    metrics = {}
    for section in re.split(r"^### ", GUIDE.read_text(), flags=re.MULTILINE):
        if section.partition("\n")[0] in (*parts, _EVERYWHERE):
            for name, kind, labels in _ROW.findall(section):
                metrics[name] = Documented(kind, frozenset(re.findall(r"`(\w+)`", labels)))
    return metrics
