"""Every tenant asked in turn at a constant rate, from clients outside, while something happens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Self

import numpy as np

from e2e.flights import Tenant
from integration.waiting import wait_for
from load.background import Background
from load.generator import Answer, Broken
from load.target import Target

RATE = 100.0
"""Requests a second over all tenants: what two shared cores serve without being busy."""
CONNECTIONS = 16
RETRIES = 3
"""How often a client sends a request again whose connection broke, or was not to be had."""
_PATIENCE = 120.0


@dataclass(frozen=True)
class Window:
    """What was due in some span of time."""

    tenants: Sequence[Tenant]
    answers: list[Answer]
    broken: list[Broken]

    @cached_property
    def failures(self) -> list[str]:
        """What a client would call failed: refused, wrong, or no answer after all retries."""
        refused = [f"{a.status}: {a.body.decode()[:300]}" for a in self.answers if a.status >= 400]
        wrong = [f"{self._tenant(a).name}: {a.body!r}" for a in self.answers if self._is_wrong(a)]
        return refused + wrong + [event.reason for event in self.broken if not event.again]

    @property
    def retried(self) -> Counter[str]:
        """Requests whose connection broke and that were sent again, by reason."""
        return Counter(event.reason for event in self.broken if event.again)

    @property
    def cold(self) -> list[str]:
        """Routes of the answers whose model was not in memory."""
        return [a.route for a in self.answers if a.status < 400 and "cache=hit" not in a.route]

    @property
    def slots(self) -> Counter[str]:
        return Counter(part_of(answer.route, "slot") for answer in self.answers)

    @property
    def reasons(self) -> Counter[str]:
        """Why the slots were chosen."""
        return Counter(part_of(answer.route, "reason") for answer in self.answers)

    @property
    def p50(self) -> float:
        return self._percentile(50)

    @property
    def p99(self) -> float:
        """Milliseconds from when a request was due to its answer."""
        return self._percentile(99)

    def summary(self) -> str:
        """One line of figures."""
        parts = [
            f"{len(self.answers)} answers, {len(self.failures)} failed, {len(self.cold)} cold",
            f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms",
        ]
        if self.retried:
            parts.append("sent again: " + ", ".join(f"{why} {n}" for why, n in self.retried.items()))
        return "; ".join(parts)

    def _is_wrong(self, answer: Answer) -> bool:
        return answer.status < 400 and not self._tenant(answer).is_right(answer.body)

    def _tenant(self, answer: Answer) -> Tenant:
        return self.tenants[answer.number % len(self.tenants)]

    def _percentile(self, percent: float) -> float:
        latencies = [answer.latency for answer in self.answers]
        return float(np.percentile(latencies, percent)) * 1e3 if latencies else float("nan")


class Traffic:
    """Runs while the context lasts."""

    def __init__(self, target: Target, tenants: Sequence[Tenant], *, rate: float = RATE) -> None:
        self._tenants = tenants
        self._load = Background(
            target,
            [tenant.request for tenant in tenants],
            rate=rate,
            connections=CONNECTIONS,
            retries=RETRIES,
        )

    def __enter__(self) -> Self:
        self._load.__enter__()
        self.began = self.now
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._load.__exit__(kind, error, traceback)

    @property
    def now(self) -> float:
        return self._load.now

    def go_on(self, seconds: float) -> Window:
        """The next so many seconds of it, once they are answered."""
        since = self.now

        def reached() -> bool:
            recent = self._load.answers[-1:]
            return bool(recent) and recent[0].due >= since + seconds

        wait_for(reached, seconds + _PATIENCE, f"answers to requests of the next {seconds:.0f} s")
        return self.window(since, since + seconds)

    def window(self, since: float, until: float | None = None) -> Window:
        """What was due from `since` on, as far as it is known by now."""
        end = float("inf") if until is None else until
        return Window(
            self._tenants,
            [answer for answer in self._load.answers if since <= answer.due < end],
            [event for event in self._load.broken if since <= event.due < end],
        )


def part_of(route: str, name: str) -> str:
    """One part of a Tenantry-Route header; empty where it is not told."""
    found = re.search(rf"(?:^|; ){name}=([^;]*)", route)
    return found[1] if found else ""
