"""Builds the wheel and uses it as a stranger would: in fresh environments, outside the clone.

The base install must say which extra the command needs. With [all], `tenantry up` must serve a model that
`tenantry publish` made, by the definitions that travel in the wheel, also to a client installed with no more
than [client]. Versions are those of the lock.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UP_SECONDS = 200.0

TRAIN = """
import joblib, pandas as pd
from sklearn.linear_model import LinearRegression
rows = pd.DataFrame({"visits": [1.0, 2.0, 3.0], "spend": [10.0, 5.0, 7.0]})
joblib.dump(LinearRegression().fit(rows, 2 * rows["visits"] + rows["spend"]), "acme.joblib")
rows.to_csv("rows.csv", index=False)
"""

ASK = """
import sys
import pandas as pd, tenantry
with tenantry.Client(sys.argv[1]) as client:
    print(client.predict("acme", pd.read_csv("rows.csv")).round(3).tolist())
try:
    tenantry.publish
except ModuleNotFoundError as error:
    assert "pip install 'tenantry[all]'" in str(error), error
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tenantry-wheel-") as folder:
        place = Path(folder)
        _call([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)], ROOT)
        [wheel] = place.glob("*.whl")
        constraints = place / "constraints.txt"
        constraints.write_text(_without_hashes((ROOT / "requirements.lock").read_text()))
        _check_base(place, wheel, constraints)
        _check_all(place, wheel, constraints)
    print("the wheel works on its own")


def _check_base(place: Path, wheel: Path, constraints: Path) -> None:
    command = _install(place / "base", str(wheel), constraints) / "tenantry"
    answer = subprocess.run([command], capture_output=True, text=True, timeout=120, check=False, cwd=place)
    if answer.returncode != 1 or "pip install 'tenantry[all]'" not in answer.stderr:
        sys.exit(f"the base install does not say what it lacks:\n{answer.stdout}{answer.stderr}")


def _check_all(place: Path, wheel: Path, constraints: Path) -> None:
    programs = _install(place / "all", f"{wheel}[all]", constraints)
    client = _install(place / "client", f"{wheel}[client]", constraints)
    work = place / "work"
    work.mkdir()
    state = str(work / "state")
    _call([str(programs / "python"), "-c", TRAIN], work)
    with subprocess.Popen(
        [programs / "tenantry", "up", "--state", state, "--port", "0"],
        cwd=work,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as up:
        try:
            _wait_until_up(up)
            tenantry = str(programs / "tenantry")
            publish = ["publish", "acme.joblib", "--tenant", "acme", "--sample", "rows.csv", "--apply"]
            _call([tenantry, *publish, "--state", state], work)
            answer = _predicted([tenantry, "predict", "acme", "-f", "rows.csv", "--state", state], work)
            url = json.loads(Path(state, "up.json").read_bytes())["url"]
            told = _predicted([str(client / "python"), "-c", ASK, url], work)
        finally:
            up.terminate()
    for values in (answer, told):
        if [round(value, 3) for value in values] != [12.0, 9.0, 13.0]:
            sys.exit(f"wrong predictions: {values}")


def _wait_until_up(up: subprocess.Popen[str]) -> None:
    """Its table is its first output; without one it has said on stderr why."""
    assert up.stdout is not None
    if not up.stdout.readline().startswith("PART"):
        sys.exit("tenantry up did not come up")


def _predicted(command: list[str], work: Path) -> list[float]:
    """The model is applied, and Ready some moments later."""
    deadline = time.monotonic() + UP_SECONDS
    while True:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, cwd=work, env=_environment()
        )
        if answer.returncode == 0:
            return [float(value) for value in answer.stdout.strip("[]\n").split(",")]
        if time.monotonic() > deadline:
            sys.exit(f"no prediction: {answer.stderr}")
        time.sleep(0.2)


def _install(environment: Path, requirement: str, constraints: Path) -> Path:
    """A new virtual environment with the requirement; the folder of its programs."""
    uv = shutil.which("uv")
    python = environment / "bin" / "python"
    if uv is not None:
        _call([uv, "venv", "--quiet", "--python", sys.executable, str(environment)], ROOT)
        install = [uv, "pip", "install", "--python", str(python)]
    else:
        _call([sys.executable, "-m", "venv", str(environment)], ROOT)
        install = [str(python), "-m", "pip", "--disable-pip-version-check", "install"]
    _call([*install, "--quiet", "--constraint", str(constraints), requirement], environment)
    return python.parent


def _without_hashes(lock: str) -> str:
    """`name==version ; marker` lines: a constraint with a hash would ask for hashes of everything."""
    pins = re.findall(r"^([A-Za-z0-9][^\s\\]*==[^\s\\]+(?: *;[^\\\n]*)?)", lock, flags=re.MULTILINE)
    return "\n".join(pins) + "\n"


def _environment() -> dict[str, str]:
    """Without what could lead back to the clone."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TENANTRY_STATE")}


def _call(command: list[str], directory: Path) -> None:
    subprocess.run(command, cwd=directory, env=_environment(), check=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed with {error.returncode}")
