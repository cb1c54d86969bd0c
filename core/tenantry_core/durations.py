"""The durations of `Tenantry-Timeout`: `250ms`, `1.5s`."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s)")


def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError for anything but a positive number and `ms` or `s`."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * (0.001 if match[2] == "ms" else 1.0) if match else 0.0
    if seconds <= 0:
        raise ValueError(f"{text!r} is no duration: write it like 250ms or 1.5s")
    return seconds


def format_duration(seconds: float) -> str:
    """Whole milliseconds, at least one: what travels from router to predictor."""
    return f"{max(1, round(seconds * 1000))}ms"
