"""A real predictor process, and how a router would talk to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from cluster.ports import free_ports
from integration.waiting import wait_for

START_SECONDS = 120.0


class PredictorProcess:
    """`python -m tenantry_predictor` on a free port, with a folder of its own for cache and log."""

    def __init__(self, folder: Path, *flags: str, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "predictor.log"
        self.cache = folder / "cache"
        self._flags = flags
        self._environment = os.environ | environment
        self._process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=60.0, limits=httpx.Limits(max_connections=None))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        if self._process is not None and self._process.poll() is None:
            self.kill(signal.SIGTERM)
            assert self._process.wait(START_SECONDS) == 0, self.log.read_text()
        assert "Traceback" not in self.log.read_text(), self.log.read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = [sys.executable, "-m", "tenantry_predictor", "--slot", "test-0", "--port", str(self.port)]
        command += ["--cache-dir", str(self.cache), *self._flags]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        wait_for(self._is_live, START_SECONDS, f"the predictor serves; its log is {self.log}")

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def wait(self) -> int:
        """The exit status."""
        assert self._process is not None
        return self._process.wait(START_SECONDS)

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def most_resident_bytes(self) -> int:
        """Ever."""
        [line] = [
            line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "VmHWM" in line
        ]
        return int(line.split()[1]) * 1024

    def predict(self, model: dict[str, str], table: Any, **parameters: str) -> httpx.Response:
        return self.http.post(
            "/predict",
            params=parameters,
            headers=model,
            content=table if isinstance(table, bytes) else json.dumps(table),
        )

    def infer(self, model: dict[str, str], request: Any) -> httpx.Response:
        path = f"/v2/models/{model['Tenantry-Model']}/versions/{model['Tenantry-Version']}/infer"
        return self.http.post(path, headers=model, json=request)

    def load(self, model: dict[str, str], **options: Any) -> httpx.Response:
        return self._repository("load", model, options)

    def unload(self, model: dict[str, str]) -> httpx.Response:
        return self._repository("unload", model, {})

    def slot(self) -> dict[str, Any]:
        report: dict[str, Any] = self.http.get("/v2/slot").raise_for_status().json()
        return report

    def metric(self, name: str) -> float:
        """The sum over all labels."""
        lines = self.http.get("/metrics").text.splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name
        )

    def _repository(self, verb: str, model: dict[str, str], options: dict[str, Any]) -> httpx.Response:
        version = model["Tenantry-Version"]
        reference = {
            "uri": model["uri"],
            "format": model["Tenantry-Format"],
            "sha256": "" if version == "-" else version,
        }
        body = {"reference": reference, "tenant": model["Tenantry-Tenant"], **options}
        return self.http.post(f"/v2/repository/models/{model['Tenantry-Model']}/{verb}", json=body)

    def _is_live(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/v2/health/live", timeout=1.0).status_code == 200
        except httpx.TransportError:
            return False


def model(
    name: str, uri: str, sha256: str = "-", *, tenant: str = "acme", model_format: str = "onnx"
) -> dict[str, str]:
    """The header fields by which a router names a model; `uri` beside them, as it is."""
    return {
        "Tenantry-Model": f"models.{name}",
        "Tenantry-Tenant": tenant,
        "Tenantry-Version": sha256,
        "Tenantry-Artifact": quote(uri, safe="/:"),
        "Tenantry-Format": model_format,
        "uri": uri,
    }


def problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document, which must be one."""
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["error"].endswith("."), document
    assert "Traceback" not in document["error"]
    return document
