"""Waiting for what a test expects, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_INTERVAL = 0.05


def wait_for(
    what: Callable[[], T | None], seconds: float, expected: str, *, interval: float = _INTERVAL
) -> T:
    """The first true value. Raises AssertionError that says what was expected and what was there last."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still not: {expected}; last: {value!r}")
        time.sleep(interval)
