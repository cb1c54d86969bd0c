"""Work that can wait: done in a thread of lower priority, so that predictions go first."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

NICE = 5
"""A third of what a thread that predicts gets of a core that both want."""

T = TypeVar("T")


def gently(work: Callable[[], T]) -> T:
    """What `work` returns or raises.

    Linux knows a priority a thread. The process keeps its own: it cannot be raised again, and a process that
    has opened a model may go on to predict with it.
    """
    with ThreadPoolExecutor(1, initializer=_give_way) as executor:
        return executor.submit(work).result()


def _give_way() -> None:
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, max(NICE, os.getpriority(os.PRIO_PROCESS, thread)))
