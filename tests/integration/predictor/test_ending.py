"""A predictor that is told to end goes on for those who have not heard of it."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx

from artifacts.graphs import linear
from integration.predictor.conftest import Put
from integration.predictor.processes import PredictorProcess
from integration.waiting import wait_for


def test_it_serves_until_nobody_asks_any_more(tmp_path: Path, models_folder: Path, put: Put) -> None:
    named = put(linear((2.0, 1.0)))
    prefix = f"file://{models_folder}/"
    with PredictorProcess(tmp_path, "--prefix", prefix, "--ready-after", "0", "--drain", "3") as predictor:
        predictor.predict(named, [[1.0, 1.0]])
        predictor.kill(signal.SIGTERM)
        wait_for(lambda: is_last(predictor.predict(named, [[1.0, 1.0]])), 60, "it has heard of its end")
        for _ in range(20):
            answer = predictor.predict(named, [[1.0, 1.0]])
            assert answer.json() == [3.0]
            assert answer.headers["tenantry-cache"].startswith("hit")
        assert predictor.http.get("/v2/health/ready").is_success, "that it ends, the pod's state tells"
        assert predictor.wait() == 0


def is_last(answer: httpx.Response) -> bool:
    """Of its connection."""
    return bool(answer.headers.get("connection") == "close")


def test_told_to_end_at_once_it_does(tmp_path: Path) -> None:
    with PredictorProcess(tmp_path) as predictor:
        predictor.kill(signal.SIGTERM)
        assert predictor.wait() == 0
