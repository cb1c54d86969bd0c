"""The peer that teams begin with: one Flask process, pipelines unpickled into a cache by count, pandas.

    python flask_server.py MODELS_FOLDER PORT

`POST /predict/<user_id>` takes a JSON list of records and answers a JSON list.
"""

from __future__ import annotations

import argparse
import logging
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from flask import Flask, Response, jsonify, request


def create_app(folder: Path, cache_size: int) -> Flask:
    """An application that keeps the last `cache_size` models of `folder` (files `<user_id>.pkl`)."""
    app = Flask(__name__)

    @lru_cache(maxsize=cache_size)
    def get_model(user_id: str) -> Any:
        with (folder / f"{user_id}.pkl").open("rb") as file:
            return pickle.load(file)

    @app.post("/predict/<user_id>")
    def predict(user_id: str) -> Response:
        frame = pd.DataFrame(request.get_json())
        return jsonify(get_model(user_id).predict(frame).tolist())

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    create_app(arguments.folder, 1000).run("127.0.0.1", arguments.port, threaded=True)
