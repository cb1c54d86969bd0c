"""From counters to rates, and how often a model is spread."""

from __future__ import annotations

import pytest

from tenantry_core.resources import Artifact, TenantModelSpec
from tenantry_core.wire import SlotReport, WarmModel
from tenantry_operator.planning.replicas import load_shares, wanted_replicas
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
    ("now", "share", "slots", "wanted"),
    [
        (1, None, 10, 1),
        (3, None, 10, 3),
        (1, 0.1, 10, 4),
        (4, 0.06, 10, 4),
        (4, 0.02, 10, 1),
        (1, 1.0, 10, 10),
        (0, None, 10, 1),
    ],
)
def test_a_model_grows_with_its_share_and_shrinks_below_half(
    now: int, share: float | None, slots: int, wanted: int
) -> None:
    assert wanted_replicas(TenantModelSpec(Artifact("s3://m/a.onnx")), now, share, slots) == wanted


def test_the_spec_bounds_the_number_of_slots() -> None:
    spec = TenantModelSpec(Artifact("s3://m/a.onnx"), min_replicas=2, max_replicas=3)
    assert wanted_replicas(spec, 1, 0.0, 10) == 2
    assert wanted_replicas(spec, 1, 1.0, 10) == 3
    assert wanted_replicas(spec, 1, 1.0, 1) == 1, "there are no more slots than there are"


def test_shares_are_of_the_pool_and_only_of_hot_models() -> None:
    load = {"ns.a": 300.0, "ns.b": 50.0, "ns.c": 1000.0}
    shares = load_shares(load, {"ns.a": "p", "ns.b": "p", "ns.c": "q", "ns.d": "q"})
    assert shares == {"ns.a": pytest.approx(300 / 350), "ns.b": 0.0, "ns.c": 1.0, "ns.d": 0.0}
    assert load_shares(None, {"ns.a": "p"}) == {}
