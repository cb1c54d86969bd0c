"""What the operator tells Prometheus about itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

PLAN_SECONDS = Histogram("tenantry_plan_seconds", "Time to compute one plan.", buckets=_SECONDS)
APPLY_SECONDS = Histogram(
    "tenantry_apply_seconds", "Time to write a plan's slices and slots.", buckets=_SECONDS
)
WRITES = Counter("tenantry_writes", "Writes by kind and outcome.", ["kind", "outcome"])
WAITING = Gauge("tenantry_waiting", "What waits to be done, by queue.", ["queue"])
CHECKS = Counter("tenantry_checks", "Loads asked of predictors, by outcome.", ["outcome"])
MODELS = Gauge("tenantry_models", "TenantModels by the status of their Ready condition.", ["ready"])
OBSERVED_AT = Gauge("tenantry_observed_timestamp_seconds", "Unix time of the last change that was observed.")
