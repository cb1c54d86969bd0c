"""From counters to rates, and how often a model is spread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_core.resources import Artifact, TenantModelSpec
from tenantry_core.wire import SlotReport, WarmModel
from tenantry_operator.planning.replicas import replicas_by_load, total_loads, wanted_replicas
from tenantry_operator.reconciling.measurements import Meter


def report(slot: str, busy: float = 0.0, in_flight: int = 0, **requests: int) -> SlotReport:
    models = tuple(WarmModel(f"ns.{m}", m, "00" * 32, 1, count) for m, count in requests.items())
    return SlotReport(slot, 100, 10, busy, in_flight, models)


def test_rates_are_the_difference_of_two_reports() -> None:
    meter = Meter()
    meter.record("s0", report("s0", a=100), now=10.0)
    assert meter.measurements().load is None, "one report tells no rate"
    meter.record("s0", report("s0", busy=1.0, a=600, b=50), now=20.0)
    assert meter.measurements().load == {"ns.a": 50.0, "ns.b": 5.0}


def test_rates_stand_while_a_slot_is_polled_too_often_to_count_anew() -> None:
    meter = Meter()
    for second, requests in enumerate([0, 10, 40, 50, 70, 80, 110, 500]):
        meter.record("s0", report("s0", a=requests), now=float(second))
        if second:
            expected = 10.0 if second < 6 else 20.0
            assert meter.measurements().load == {"ns.a": expected}, f"after {second} seconds"


def test_rates_add_up_over_slots() -> None:
    meter = Meter()
    for slot in ("s0", "s1"):
        meter.record(slot, report(slot, a=0), now=10.0)
        meter.record(slot, report(slot, a=100), now=20.0)
    assert meter.measurements().load == {"ns.a": 20.0}
    meter.forget_all_but({"s1"})
    assert meter.measurements().load == {"ns.a": 10.0}


def test_a_counter_that_begins_anew_is_no_negative_rate() -> None:
    meter = Meter()
    meter.record("s0", report("s0", a=1000), now=10.0)
    meter.record("s0", report("s0", a=20), now=20.0)
    assert meter.measurements().load == {"ns.a": 0.0}


def test_a_slot_is_idle_since_the_first_of_the_reports_that_show_no_request() -> None:
    meter = Meter()
    meter.record("s0", report("s0", busy=1.0), now=10.0)
    assert "s0" not in meter.measurements().idle_since
    meter.record("s0", report("s0", busy=1.0), now=20.0)
    meter.record("s0", report("s0", busy=1.0), now=30.0)
    assert meter.measurements().idle_since["s0"] == 10.0
    meter.record("s0", report("s0", busy=1.0, in_flight=1), now=40.0)
    assert "s0" not in meter.measurements().idle_since


@pytest.mark.parametrize(
    ("now", "by_load", "wanted"),
    [
        (1, None, 1),
        (3, None, 3),
        (1, 4, 4),
        (4, 3, 4),
        (4, 2, 4),
        (4, 1, 1),
        (1, 40, 10),
        (0, None, 1),
        (3, 0, 1),
    ],
)
def test_a_model_grows_with_its_load_and_shrinks_below_half(
    now: int, by_load: int | None, wanted: int
) -> None:
    assert wanted_replicas(TenantModelSpec(Artifact("s3://m/a.onnx")), now, by_load, 10) == wanted


def test_the_spec_bounds_the_number_of_slots() -> None:
    spec = TenantModelSpec(Artifact("s3://m/a.onnx"), min_replicas=2, max_replicas=3)
    assert wanted_replicas(spec, 1, 0, 10) == 2
    assert wanted_replicas(spec, 1, 10, 10) == 3
    assert wanted_replicas(spec, 1, 10, 1) == 1, "there are no more slots than there are"


def test_a_model_wants_slots_for_its_share_of_the_load() -> None:
    assert replicas_by_load(1000.0, 10_000.0, 10) == 4
    assert replicas_by_load(1000.0, 10_000.0, 100) == 10, (
        "one for each hundred requests per second are plenty"
    )
    assert replicas_by_load(90.0, 90.0, 10) == 1
    assert replicas_by_load(49.0, 90.0, 10) == 0, "what its spec asks for is enough"
    assert replicas_by_load(0.0, 0.0, 10) == 0


@given(
    rate=st.floats(1.0, 1e5),
    others=st.floats(0.0, 1e6),
    slots=st.integers(1, 200),
    noise=st.lists(st.floats(0.8, 1.25), min_size=2, max_size=20),
)
def test_noise_makes_a_model_grow_but_never_swing(
    rate: float, others: float, slots: int, noise: list[float]
) -> None:
    spec, now = TenantModelSpec(Artifact("s3://m/a.onnx")), 1
    for factor in noise:
        before = now
        by_load = replicas_by_load(rate * factor, rate * factor + others, slots)
        now = wanted_replicas(spec, before, by_load, slots)
        assert now >= before


def test_the_load_of_a_pool_is_that_of_its_models() -> None:
    load = {"ns.a": 300.0, "ns.b": 50.0, "ns.c": 1000.0, "ns.gone": 5.0}
    pools = {"ns.a": "p", "ns.b": "p", "ns.c": "q", "ns.d": "q"}
    assert total_loads(load, pools) == {"p": 350.0, "q": 1000.0}
    assert total_loads(None, pools) == {}
