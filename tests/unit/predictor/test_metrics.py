"""What is exported: the busiest tenants by name, the rest as `other`, and never a number that goes back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tenantry_predictor.metrics import Metrics

Samples = dict[tuple[str, str], float]


def scrape(metrics: Metrics) -> Samples:
    """Sums by sample name and tenant, through the text that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(metrics)
    sums: Samples = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                key = (sample.name, sample.labels.get("tenant", ""))
                sums[key] = sums.get(key, 0) + sample.value
    return sums


def test_counts_by_tenant_and_totals() -> None:
    metrics = Metrics()
    metrics.answered("acme", "miss", 0.5)
    metrics.answered("acme", "hit", 0.0002)
    metrics.answered("globex", "disk", 0.01)
    metrics.failed("acme", 422, 0.0)
    samples = scrape(metrics)
    assert samples["tenantry_predictor_requests_total", "acme"] == 2
    assert samples["tenantry_predictor_errors_total", "acme"] == 1
    assert samples["tenantry_predictor_request_seconds_count", "acme"] == 3
    assert samples["tenantry_predictor_request_seconds_count", "globex"] == 1
    assert samples["tenantry_predictor_cache_hits_total", ""] == 1
    assert samples["tenantry_predictor_cache_disk_hits_total", ""] == 1
    assert samples["tenantry_predictor_cache_misses_total", ""] == 1
    assert scrape(metrics) == samples


@settings(max_examples=60, deadline=None)
@given(rounds=st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=30), min_size=1, max_size=6))
def test_labels_are_few_and_nothing_is_lost(rounds: list[list[str]]) -> None:
    metrics = Metrics(busiest=3)
    asked = 0
    previous: Samples = {}
    for tenants in rounds:
        for tenant in tenants:
            metrics.answered(tenant, "hit", 0.001)
        asked += len(tenants)
        samples = scrape(metrics)
        shown = {t: v for (name, t), v in samples.items() if name == "tenantry_predictor_requests_total"}
        assert len(shown) <= 4
        assert samples["tenantry_predictor_cache_hits_total", ""] == asked >= sum(shown.values())
        assert all(samples[key] >= value for key, value in previous.items() if key in samples)
        previous = samples


def test_the_busiest_are_named() -> None:
    metrics = Metrics(busiest=2)
    for tenant, count in {"small": 1, "big": 30, "medium": 10}.items():
        for _ in range(count):
            metrics.answered(tenant, "hit", 0.001)
    shown = {t: v for (name, t), v in scrape(metrics).items() if name == "tenantry_predictor_requests_total"}
    assert shown == {"big": 30, "medium": 10, "other": 1}
