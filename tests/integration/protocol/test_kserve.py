"""KServe's own client, unchanged, from a virtual environment of its own: it wants 450 MB beside it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

from integration.protocol.conftest import Served

_PACKAGE = "kserve==0.21.0"
_INSTALL_SECONDS = 600
_SCRIPT = Path(__file__).with_name("kserve_client.py")

pytestmark = pytest.mark.timeout(_INSTALL_SECONDS + 300)


@pytest.fixture(scope="module")
def kserve() -> Path:
    """A Python that has the SDK: made once, kept between runs. Skips where it does not install."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenantry"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / _PACKAGE.replace("==", "-")
    with (home / "kserve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            _install(folder)
    return folder / "bin/python"


def _install(folder: Path) -> None:
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--retries=10", _PACKAGE]
    try:
        subprocess.run(pip, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        words = (
            (error.stderr or str(error)) if isinstance(error, subprocess.CalledProcessError) else str(error)
        )
        pytest.skip(f"{_PACKAGE} does not install here: {words[-300:]}")
    (folder / "installed").touch()


@pytest.fixture(scope="module")
def told(served: Served, kserve: Path) -> dict[str, Any]:
    """What the client tells, of all that it is asked to do in one go."""
    command = [str(kserve), str(_SCRIPT), served.router.url, served.grpc]
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert answer.returncode == 0, answer.stderr
    result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_health(told: dict[str, Any], way: str) -> None:
    assert told[way]["live"]
    assert told[way]["ready"]
    assert told[way]["model ready"]


@pytest.mark.parametrize("form", ["rest json", "rest binary", "rest binary output", "grpc raw", "grpc typed"])
def test_an_inference(told: dict[str, Any], form: str) -> None:
    assert told[form] == {"both": [[1.0, 10.0], [2.0, 20.0]], "sum": [[11.0], [22.0]], "id": "r-1"}


def test_an_error_is_told_in_the_servers_words(told: dict[str, Any]) -> None:
    assert told["error"] == "There is no model 'nobody'."
