"""Ray Serve with model multiplexing: one replica that keeps the models it was asked for, pandas.

    python ray_server.py MODELS_FOLDER PORT

`POST /predict` takes a JSON list of records and answers a JSON list; the header `serve_multiplexed_model_id`
names the model.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import ray
from ray import serve
from starlette.requests import Request

MODELS = 20_000


class Models:
    """Files `<model_id>.pkl` of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @serve.multiplexed(max_num_models_per_replica=MODELS)  # type: ignore[untyped-decorator]
    async def get_model(self, model_id: str) -> Any:
        return joblib.load(self._folder / f"{model_id}.pkl")

    async def __call__(self, request: Request) -> list[float]:
        model = await self.get_model(serve.get_multiplexed_model_id())
        values: list[float] = model.predict(pd.DataFrame(await request.json())).tolist()
        return values


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    quiet = {"enable_access_log": False, "log_level": "ERROR"}
    serve.start(http_options={"host": "127.0.0.1", "port": arguments.port}, logging_config=quiet)
    deployment = serve.deployment(Models, max_ongoing_requests=100)
    serve.run(deployment.bind(arguments.folder), route_prefix="/predict", logging_config=quiet)
    signal.pause()


if __name__ == "__main__":
    main()
