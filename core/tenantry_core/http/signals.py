"""SIGTERM acts like Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Stop(SystemExit):
    """One of the signals has arrived. Event loops let this kind of exception pass, and no other."""


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Leave the block at SIGTERM or Ctrl-C, wherever it is. Main thread only."""
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    with contextlib.suppress(_Stop):
        yield


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stop
