"""Which predictions are taken for cheap."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tenantry_predictor.repositories.cost import Cost


def learnt(*predictions: tuple[int, float]) -> Cost:
    cost = Cost()
    for body_bytes, seconds in predictions:
        cost.record(body_bytes, seconds)
    return cost


def test_nothing_is_known_before_the_first() -> None:
    assert Cost().estimate(10) == math.inf


def test_of_a_brief_model_little_is_expected_and_more_of_a_large_body() -> None:
    assert Cost(brief=True).estimate(10) < 0.001
    assert Cost(brief=True).estimate(1 << 20) > 0.1


def test_one_suspended_prediction_changes_little() -> None:
    assert learnt(*[(100, 1e-5)] * 10, (100, 0.5)).estimate(100) < 2e-5


def test_a_model_that_became_dear_is_found_out() -> None:
    assert learnt(*[(100, 1e-5)] * 10, *[(100, 0.01)] * 60).estimate(100) > 0.009


def test_a_small_body_is_not_taken_for_cheap_after_dear_large_ones() -> None:
    assert learnt(*[(10_000, 0.01)] * 10).estimate(10) > 0.009


def test_a_much_larger_body_is_dearer() -> None:
    assert learnt(*[(100, 1e-4)] * 10).estimate(100_000) > 0.09


@given(st.lists(st.tuples(st.integers(0, 10**7), st.floats(1e-7, 10)), min_size=1), st.integers(0, 10**7))
def test_estimates_stay_within_what_was_seen(seen: list[tuple[int, float]], body_bytes: int) -> None:
    times = [seconds for _, seconds in seen]
    estimate = learnt(*seen).estimate(body_bytes)
    assert min(times) * 0.999 <= estimate <= max(times) * 1.001 * max(1, body_bytes)
