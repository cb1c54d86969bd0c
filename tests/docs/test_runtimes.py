"""Who follows `docs/runtimes.md` serves what XGBoost saved, and a format of a package of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from docs.following import follow
from docs.pages import File, steps

PAGE = "runtimes.md"
EXAMPLE = Path(__file__).parents[2] / "examples" / "custom-model"


def test_runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "packages"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
    ]
    subprocess.run([*pip, "--target", packages, EXAMPLE], check=True)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    follow(PAGE, tmp_path)


@pytest.mark.parametrize("library", ["torch", "tensorflow"])
def test_exports_to_onnx(tmp_path: Path, library: str) -> None:
    pytest.importorskip(library, reason=f"{library} is gigabytes, and not installed here")
    [script] = [
        step for step in steps(PAGE) if isinstance(step, File) and step.name == f"export_{library}.py"
    ]
    (tmp_path / script.name).write_text(script.content)
    subprocess.run([sys.executable, script.name], cwd=tmp_path, check=True)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    [answer] = session.run(None, {session.get_inputs()[0].name: [[1.0, 2.0], [3.0, 4.0]]})
    assert answer.shape == (2, 1)
