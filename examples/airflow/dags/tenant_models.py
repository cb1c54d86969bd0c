"""Every day: a model for each tenant is trained, brought to S3, and served."""

from __future__ import annotations

from datetime import datetime

import tenant_training
from airflow.sdk import dag, task


@dag(schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False, tags=["tenantry"])
def tenant_models() -> None:
    train = task(tenant_training.train_and_publish, retries=2)
    manifests = train.expand(tenant=task(tenant_training.tenants)())
    task(tenant_training.apply)(manifests)


tenant_models()
