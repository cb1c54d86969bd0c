"""What one fetch may take, whatever store it comes from."""

from __future__ import annotations

import pytest

from tenantry_predictor.errors import StorageUnavailable
from tenantry_predictor.repositories.base import Source
from tenantry_predictor.repositories.fetching import (
    FETCH_SECONDS,
    WINDOW_BYTES,
    WINDOW_SECONDS,
    WithinLimits,
)
from unit.predictor.stores import Clock

SOURCE = Source("models.acme", "acme", "s3://models/acme.onnx", "onnx")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def taken() -> list[bytes]:
    return []


@pytest.fixture
def write(clock: Clock, taken: list[bytes]) -> WithinLimits:
    return WithinLimits(SOURCE, taken.append, clock)


def write_every(seconds: float, write: WithinLimits, clock: Clock, chunk: bytes) -> None:
    for _ in range(1000):
        clock.now += seconds
        write(chunk)


def test_a_trickle_ends_after_one_window(write: WithinLimits, clock: Clock, taken: list[bytes]) -> None:
    started = clock.now
    with pytest.raises(StorageUnavailable, match=r"s3://models/acme\.onnx arrives too slowly"):
        write_every(1, write, clock, b"x")
    assert clock.now - started == WINDOW_SECONDS + 1
    assert b"".join(taken) == b"x" * 11


def test_a_slow_but_steady_store_has_its_time(write: WithinLimits, clock: Clock) -> None:
    started = clock.now
    with pytest.raises(StorageUnavailable, match="did not arrive within"):
        write_every(WINDOW_SECONDS / 2, write, clock, bytes(WINDOW_BYTES))
    assert clock.now - started > FETCH_SECONDS


def test_a_store_that_stops_after_a_good_start_is_slow(write: WithinLimits, clock: Clock) -> None:
    write(bytes(10 * WINDOW_BYTES))
    clock.now += WINDOW_SECONDS + 1
    write(b"x")
    clock.now += WINDOW_SECONDS + 1
    with pytest.raises(StorageUnavailable, match="arrives too slowly: 1 bytes"):
        write(b"x")
