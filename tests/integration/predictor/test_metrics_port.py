"""`--metrics-port`: what Prometheus may reach where it may not reach predictions."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from artifacts import graphs
from cluster.ports import free_ports
from integration.predictor.processes import PredictorProcess, model, problem


def test_it_tells_the_metrics_without_a_token_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(graphs.linear([1, 1]))
    (tmp_path / "tokens").write_text("secret\n")
    [port] = free_ports(1)
    flags = ["--prefix", f"file://{tmp_path}/", "--token-file", str(tmp_path / "tokens")]
    flags += ["--metrics-port", str(port)]
    with (
        PredictorProcess(tmp_path / "slot", *flags) as predictor,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as scraper,
    ):
        asked = model("a", f"file://{tmp_path}/a.onnx") | {"Tenantry-Token": "secret"}
        assert predictor.predict(asked, [[1, 2]]).json() == [3.0]
        scraped = scraper.get("/metrics")
        assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = [s for f in text_string_to_metric_families(scraped.text) for s in f.samples]
        missed = [s.value for s in samples if s.name == "tenantry_predictor_cache_misses_total"]
        assert missed == [1.0]
        assert scraper.get("/metrics", headers={"Connection": "close"}).status_code == 200
        for refused in (
            scraper.post("/predict", headers=asked, content="[[1, 2]]"),
            scraper.post("/v2/repository/index", headers=asked),
            scraper.get("/v2/slot", headers=asked),
            scraper.get("/v2/health/live"),
            scraper.get("/"),
            scraper.post("/metrics"),
        ):
            assert refused.status_code == 404
            assert problem(refused)["error"].startswith("There is nothing at /")
        # Leaving this block stops the predictor with the scraper's connection still open.


def test_a_port_in_use_is_said_at_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "tenantry_predictor", "--slot", "s", "--port", "0"]
        command += ["--cache-dir", str(tmp_path), "--metrics-port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip() == f"Port {port} of 127.0.0.1 is in use by another process."
