"""`python -m tenantry.demo_publish --to s3://models/default`: the demonstration's models, for any cluster.

Trains what `make run` trains, publishes it, and prints the manifests for `kubectl apply -f -`. Endpoint,
region and credentials of S3 come from the environment, such as AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice

import yaml
from rich.console import Console
from rich.progress import track

from tenantry.demo_models import NoData, flights, train
from tenantry.publishing.errors import PublishError
from tenantry.publishing.publisher import publish


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tenantry.demo_publish", description=__doc__)
    parser.add_argument("--to", required=True, metavar="PREFIX", help="s3://bucket/path or file:///folder")
    parser.add_argument("--tenants", type=int, default=12, help="how many, each with a model (default: 12)")
    arguments = parser.parse_args()
    try:
        _publish(arguments.to, arguments.tenants)
    except (NoData, PublishError) as error:
        sys.exit(f"error: {error}")


def _publish(prefix: str, count: int) -> None:
    models = islice(train(flights()), count)
    for each in track(models, "training and publishing", total=count, console=Console(stderr=True)):
        published = publish(each.model, tenant=each.tenant, sample=each.rows, to=prefix)
        print(yaml.safe_dump(published.manifest(), sort_keys=False, explicit_start=True), end="", flush=True)


if __name__ == "__main__":
    main()
