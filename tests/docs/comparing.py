"""Does a command print what a page shows? The rules are in README.md, beside this file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

_LOOSE = re.compile(
    r"(?P<any>\.\.\.)|(?P<hex>\b[0-9a-f]{12,}\b)|(?P<figure>-?\b\d+(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+))|(?P<blank>\s+)"
)
_FIGURE = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_RELATIVE = 1e-3


def agrees(shown: Sequence[str], printed: Sequence[str]) -> bool:
    if not shown:
        return not printed
    if shown[0].strip() == "...":
        return any(agrees(shown[1:], printed[skipped:]) for skipped in range(len(printed) + 1))
    return bool(printed) and _line_agrees(shown[0], printed[0]) and agrees(shown[1:], printed[1:])


def _line_agrees(shown: str, printed: str) -> bool:
    document = _document(shown)
    if document is not None:
        return _value_agrees(document, _document(printed))
    return re.fullmatch(_pattern(shown.rstrip()), printed.rstrip()) is not None


def _document(line: str) -> Any:
    """The JSON array or object that the line is, else None."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, list | dict) else None


def _value_agrees(shown: Any, printed: Any) -> bool:
    if isinstance(shown, dict) and isinstance(printed, dict):
        return shown.keys() == printed.keys() and all(
            _value_agrees(shown[key], printed[key]) for key in shown
        )
    if isinstance(shown, list) and isinstance(printed, list):
        return len(shown) == len(printed) and all(map(_value_agrees, shown, printed))
    if isinstance(shown, float) and isinstance(printed, int | float):
        return math.isclose(shown, printed, rel_tol=_RELATIVE)
    return bool(shown == printed) or shown == "..."


def _pattern(line: str) -> str:
    pattern, end = "", 0
    for loose in _LOOSE.finditer(line):
        pattern += re.escape(line[end : loose.start()]) + _loosened(loose)
        end = loose.end()
    return pattern + re.escape(line[end:])


def _loosened(loose: re.Match[str]) -> str:
    return {
        "any": ".*",
        "hex": f"[0-9a-f]{{{len(loose[0])}}}",
        "figure": _FIGURE,
        "blank": r"\s+",
    }[str(loose.lastgroup)]
