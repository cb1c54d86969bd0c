"""A predictor that is told to end goes on for those who have not heard of it."""

from __future__ import annotations

import signal
from pathlib import Path

from artifacts.graphs import linear
from integration.predictor.conftest import Put
from integration.predictor.processes import PredictorProcess, problem
from integration.waiting import wait_for


def test_it_turns_unready_and_serves_until_nobody_asks_any_more(
    tmp_path: Path, models_folder: Path, put: Put
) -> None:
    named = put(linear((2.0, 1.0)))
    prefix = f"file://{models_folder}/"
    with PredictorProcess(tmp_path, "--prefix", prefix, "--ready-after", "0", "--drain", "1") as predictor:
        assert predictor.http.get("/v2/health/ready").is_success
        predictor.predict(named, [[1.0, 1.0]])
        predictor.kill(signal.SIGTERM)
        wait_for(lambda: predictor.http.get("/v2/health/ready").is_error, 5, "it turns unready")
        assert problem(predictor.http.get("/v2/health/ready"))["reason"] == "Ending"
        predictor.http.post("/v2/slot/ready")
        assert predictor.http.get("/v2/health/ready").is_error, "for good"
        for _ in range(20):
            answer = predictor.predict(named, [[1.0, 1.0]])
            assert (answer.json(), answer.headers["tenantry-cache"]) == ([3.0], "hit")
        assert predictor.wait() == 0


def test_told_to_end_at_once_it_does(tmp_path: Path) -> None:
    with PredictorProcess(tmp_path) as predictor:
        predictor.kill(signal.SIGTERM)
        assert predictor.wait() == 0
