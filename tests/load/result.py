"""What a load run has measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Result:
    """Counts, and the latencies of all answered requests in seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    """Requests without an answer, by reason: refused, reset, closed, malformed, unanswered at the end."""
    retried: Counter[str] = field(default_factory=Counter)
    """The same of requests that were sent again, which are no errors unless they fail then too."""
    wrong: int = 0
    """Answers that the caller's check did not accept."""
    latencies: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def answered(self) -> int:
        return self.statuses.total()

    @property
    def errors(self) -> int:
        """What a client would call a failure: no answer, a wrong one, or a status of 400 and up."""
        refused = sum(count for status, count in self.statuses.items() if status >= 400)
        return self.broken.total() + self.wrong + refused

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return self.answered / self.elapsed if self.elapsed else 0.0

    def percentile(self, percent: float) -> float:
        """Of the latencies, in seconds; NaN without any."""
        return float(np.percentile(self.latencies, percent)) if self.latencies else float("nan")

    @property
    def p50(self) -> float:
        return self.percentile(50)

    @property
    def p99(self) -> float:
        return self.percentile(99)

    def summary(self) -> str:
        """Some lines for people."""
        counts = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        lines = [
            f"{self.answered} answers in {self.elapsed:.2f} s: {self.throughput:.0f}/s ({counts or 'none'})",
            f"latency: p50 {self.p50 * 1e3:.2f} ms, p99 {self.p99 * 1e3:.2f} ms",
        ]
        if self.broken:
            lines.append("without an answer: " + ", ".join(f"{why}: {n}" for why, n in self.broken.items()))
        if self.wrong:
            lines.append(f"wrong answers: {self.wrong}")
        return "\n".join(lines)
