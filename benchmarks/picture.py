"""The picture of the README, from the figures of warm.py and memory.py: bars of each contender.

python benchmarks/picture.py build/bench docs/images/peers.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

NAMES = {
    "tenantry": "Tenantry",
    "mlserver": "MLServer",
    "ray": "Ray Serve",
    "fastapi": "FastAPI + joblib",
    "flask": "Flask",
}
WIDTH, HEAD, ROW = 900, 34, 26
LABELS, BARS = 120, 560
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .head { font-weight: 600; }
  .value { fill: #59636e; }
  rect { fill: #afb8c1; }
  .ours { fill: #1a7f64; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .value { fill: #9198a1; }
    rect { fill: #545d68; }
    .ours { fill: #2fb98f; }
  }
"""


def drawn(figures: Path, picture: Path) -> bool:
    """Draw `picture` from the JSON of a folder; False where that is not all there."""
    warm, memory = figures / "warm.json", figures / "memory.json"
    if not (warm.exists() and memory.exists()):
        return False
    picture.write_text(_svg(_panels(json.loads(warm.read_text()), json.loads(memory.read_text()))))
    return True


def _panels(warm: Any, memory: Any) -> dict[str, dict[str, float]]:
    """Bars by contender, by title."""
    titles = {
        "linear": "Linear model of a tenant: predictions a second",
        "forest": "Random forest of 100 trees: predictions a second",
    }
    panels = {
        titles[cell["kind"]]: {name: one["throughput"] for name, one in cell["contenders"].items()}
        for cell in warm["cells"]
        if cell["kind"] in titles and cell["rows"] == 1 and cell["models"] == 64
    }
    linear = [one for one in memory["figures"] if one["kind"] == "linear"]
    panels["Warm linear models in a gigabyte"] = {
        one["contender"]: one["models_per_gigabyte"] for one in linear
    }
    return panels


def _svg(panels: Mapping[str, Mapping[str, float]]) -> str:
    parts, top = [], 0
    for title, bars in panels.items():
        parts.append(f'<text class="head" x="0" y="{top + HEAD - 12}">{escape(title)}</text>')
        top += HEAD
        for name in [name for name in NAMES if name in bars]:
            parts.append(_bar(name, bars[name], max(bars.values()), bars["tenantry"], top))
            top += ROW
    body = "\n".join(parts)
    size = f'viewBox="0 0 {WIDTH} {top + 8}" width="{WIDTH}" height="{top + 8}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{_STYLE}</style>\n{body}\n</svg>\n'


def _bar(name: str, value: float, most: float, ours: float, top: int) -> str:
    width = max(2, round(value / most * BARS))
    kind = ' class="ours"' if name == "tenantry" else ""
    ratio = "" if name == "tenantry" else f" ({value / ours:.2f}x)"
    return (
        f'<text x="0" y="{top + 15}">{NAMES[name]}</text>'
        f'<rect{kind} x="{LABELS}" y="{top + 2}" width="{width}" height="{ROW - 8}" rx="2"/>'
        f'<text class="value" x="{LABELS + width + 8}" y="{top + 15}">{_rounded(value)}{ratio}</text>'
    )


def _rounded(value: float) -> str:
    """To two digits: no machine measures more."""
    digits = len(str(int(value))) - 2
    return f"{round(value, -digits):,.0f}"


if __name__ == "__main__":
    if len(sys.argv) != 3 or not drawn(Path(sys.argv[1]), Path(sys.argv[2])):
        sys.exit(
            "Usage: python benchmarks/picture.py FOLDER PICTURE, with warm.json and memory.json in FOLDER"
        )
