"""Failed loads, remembered for a short, growing time: no broken artifact is fetched at every request."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tenantry_predictor.errors import LoadError
from tenantry_predictor.repositories.base import Source

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 30.0
_CAPACITY = 10_000


@dataclass(frozen=True, slots=True)
class Failure:
    error: LoadError
    attempts: int
    until: float
    """The clock's time at which the next request tries again."""


class FailureMemory:
    """1 s after the first failure, twice as long after each further one in a row, at most 30 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[Source, Failure] = OrderedDict()

    def current(self, source: Source) -> LoadError | None:
        """The failure that answers for `source` now, to be raised."""
        failure = self._failures.get(source)
        return _bare(failure.error) if failure is not None and self._clock() < failure.until else None

    def retry_after(self, source: Source) -> int:
        """Whole seconds until a try is worth while, at least one: what goes into Retry-After."""
        failure = self._failures.get(source)
        return max(1, round(failure.until - self._clock() + 0.5)) if failure else 1

    def record(self, source: Source, error: LoadError) -> None:
        known = self._failures.pop(source, None)
        attempts = known.attempts + 1 if known else 1
        pause = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2 ** (attempts - 1))
        self._failures[source] = Failure(_bare(error), attempts, self._clock() + pause)
        if len(self._failures) > _CAPACITY:
            self._failures.popitem(last=False)

    def forget(self, source: Source) -> None:
        """It worked."""
        self._failures.pop(source, None)


def _bare(error: LoadError) -> LoadError:
    """A copy without frames and causes: these hold on to kilobytes, and grow when it is raised again."""
    bare = type(error).__new__(type(error), *error.args)
    vars(bare).update(vars(error))
    return bare
