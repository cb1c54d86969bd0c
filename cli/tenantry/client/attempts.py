"""One request, at most two attempts, one deadline. Without input and output: a generator that is driven.

It yields what is to be done, a Request to send or a Pause to make, and is sent the Answer, or thrown the
TenantryError that came instead.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from typing import NamedTuple, TypeVar

from tenantry.client.answers import Answer
from tenantry.client.errors import Unreachable
from tenantry.client.requests import TIMEOUT, Request
from tenantry_core.durations import format_duration

T = TypeVar("T")


class Pause(NamedTuple):
    seconds: float


Step = Request | Pause
Flow = Generator[Step, Answer | None, T]


def answer_to(request: Request, seconds: float) -> Flow[Answer]:
    """Again, once, when the connection broke, or when the answer is 503 and says for how long: a prediction
    changes nothing, so it may be asked for twice. Raises TenantryError."""
    deadline = time.monotonic() + seconds
    try:
        answer = yield _within(request, deadline)
        assert answer is not None
        wait = answer.retry_after if answer.status == 503 else None
        if wait is None or time.monotonic() + wait >= deadline:
            return answer
        yield Pause(wait)
    except Unreachable:
        if time.monotonic() >= deadline:
            raise
    answer = yield _within(request, deadline)
    assert answer is not None
    return answer


def _within(request: Request, deadline: float) -> Request:
    """The router and the predictor know how long the caller waits, and drop the work after that."""
    seconds = deadline - time.monotonic()
    headers = {**request.headers, TIMEOUT: format_duration(seconds)}
    return replace(request, headers=headers, seconds=max(seconds, 0.001))
