"""The same with FastAPI and joblib, as teams write it next: a dictionary of models, pandas, one process.

    python fastapi_server.py MODELS_FOLDER PORT

`POST /predict/<user_id>` takes a JSON list of records and answers a JSON list.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI


def create_app(folder: Path) -> FastAPI:
    """An application that keeps every model of `folder` (files `<user_id>.pkl`) that it was asked for."""
    app = FastAPI()

    @cache
    def get_model(user_id: str) -> Any:
        return joblib.load(folder / f"{user_id}.pkl")

    @app.post("/predict/{user_id}")
    def predict(user_id: str, records: list[dict[str, float]]) -> list[float]:
        values: list[float] = get_model(user_id).predict(pd.DataFrame(records)).tolist()
        return values

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    uvicorn.run(create_app(arguments.folder), port=arguments.port, log_level="warning", access_log=False)
