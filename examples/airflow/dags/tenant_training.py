"""What the tasks of `tenant_models.py` do. Nothing here knows of Airflow: it can be tested alone.

    TRAINING_DATA   a folder with a table a tenant: `<tenant>.csv`, whose column `target` is to be predicted
    MODELS          where artifacts go: s3://bucket/prefix, which the pool of predictors may read

S3 is found as boto3 finds it (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID...); the cluster as kubectl finds it, or
the `tenantry up` of TENANTRY_STATE.
"""

# Libraries are imported within the functions: a scheduler reads this file every few seconds.

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any


def tenants() -> list[str]:
    """Everybody who has data."""
    return sorted(path.stem for path in Path(os.environ["TRAINING_DATA"]).glob("*.csv"))


def train_and_publish(tenant: str) -> dict[str, Any]:
    """Fit the tenant's own model, bring it to the store: the manifest that serves it."""
    import pandas as pd
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.metrics import mean_absolute_error
    from sklearn.model_selection import train_test_split

    import tenantry

    table = pd.read_csv(Path(os.environ["TRAINING_DATA"]) / f"{tenant}.csv")
    rows, target = table.drop(columns="target"), table["target"]
    seen, unseen, answers, expected = train_test_split(rows, target, test_size=0.25, random_state=0)
    model = GradientBoostingRegressor(n_estimators=50, random_state=0).fit(seen, answers)
    published = tenantry.publish(
        model,
        tenant=tenant,
        sample=rows.head(100),
        to=os.environ["MODELS"],
        metrics={"mean_absolute_error": mean_absolute_error(expected, model.predict(unseen))},
    )
    return published.manifest()


def apply(manifests: list[dict[str, Any]]) -> None:
    """Serve them. What has not changed since the last run stays as it is."""
    import yaml

    documents = yaml.safe_dump_all(manifests)
    subprocess.run(["tenantry", "apply", "-f", "-"], input=documents, text=True, check=True)
