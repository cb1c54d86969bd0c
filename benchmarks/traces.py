"""Which model is asked for, request by request: skewed traffic, and the ways in which it changes."""

from __future__ import annotations

from typing import Any

import numpy as np

Ids = np.ndarray[Any, np.dtype[np.int64]]

MODELS = 10_000
REQUESTS = 400_000
WARM_UP = 100_000
"""Requests that are not counted."""
_DAY = 100_000
_SEED = 7


def trace(kind: str, alpha: float) -> Ids:
    """Models by number, of which the nth most popular is asked 1/n^alpha as often as the first.

    `stationary`: it stays so. `drift`: every 500 requests two models change places, popular ones as often as
    others (places are drawn evenly by their logarithm). `change`: after half of the requests all places are
    dealt anew. `sweep`: once in 100,000 requests each model is asked for once, in any order. `sessions`: a
    model is asked five times in the mean, within some hundred requests, and then it is the turn of another.
    """
    random = np.random.default_rng(_SEED)
    if kind == "sessions":
        return _sessions(random, alpha)
    places = random.permutation(MODELS)
    ranks = zipf(random, alpha, REQUESTS)
    asked: Ids = places[ranks]
    if kind == "drift":
        for begin in range(0, REQUESTS, 500):
            first, second = np.exp(random.random(2) * np.log(MODELS)).astype(np.int64) - 1
            places[[first, second]] = places[[second, first]]
            asked[begin : begin + 500] = places[ranks[begin : begin + 500]]
    elif kind == "change":
        half = REQUESTS // 2
        asked[half:] = random.permutation(MODELS)[ranks[half:]]
    elif kind == "sweep":
        for end in range(_DAY, REQUESTS + 1, _DAY):
            asked[end - MODELS : end] = random.permutation(MODELS)
    return asked


def zipf(random: np.random.Generator, alpha: float, count: int, models: int = MODELS) -> Ids:
    """Ranks from 0 on."""
    weights = np.cumsum(1.0 / np.arange(1, models + 1) ** alpha)
    ranks: Ids = np.searchsorted(weights, random.random(count) * weights[-1])
    return ranks


def _sessions(random: np.random.Generator, alpha: float, requests: int = 5, span: int = 300) -> Ids:
    count = REQUESTS * 5 // 4 // requests
    who = random.permutation(MODELS)[zipf(random, alpha, count)]
    lengths = random.geometric(1 / requests, count)
    begins = np.repeat(np.sort(random.random(count)), lengths) * count * requests
    at = begins + random.exponential(span, len(begins))
    asked: Ids = np.repeat(who, lengths)[np.argsort(at)][:REQUESTS]
    return asked
