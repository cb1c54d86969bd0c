"""What bounds the answers of models that are computed in the predictor's own process."""

from __future__ import annotations

from collections.abc import Iterable

from tenantry_core.problems import Problem
from tenantry_predictor.runtimes.base import AnyArray

_MOST_BYTES = 64 << 20
"""Of one prediction's results: they become JSON, a value at a time, in the one process of all models."""


def check_size(results: Iterable[AnyArray]) -> None:
    """Raises Problem (422)."""
    if sum(result.nbytes for result in results) > _MOST_BYTES:
        raise Problem(
            422, f"The answer is larger than {_MOST_BYTES >> 20} MiB; send fewer rows.", reason="TooLarge"
        )


def no_memory() -> Problem:
    """For a request that asks too much of a model that is warm."""
    return Problem(
        422,
        "The model needs more memory for this request than the predictor has; send fewer rows.",
        reason="TooLarge",
    )
