"""Runs the command `tenantry` in this process, as a user does in a shell of their own.

A conftest.py takes the fixtures with `from shell import state, tenantry`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenantry import main

ACME = """\
apiVersion: tenantry.dev/v1alpha1
kind: TenantModel
metadata: {name: acme}
spec:
  artifact: {uri: s3://models/acme.onnx}
"""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Shell = Callable[..., Outcome]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own, which every command of it uses; the user's are out of sight."""
    for name in ("TENANTRY_URL", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))
    monkeypatch.setenv("TENANTRY_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def tenantry(state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    def run(*arguments: str | Path, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["tenantry", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        message = ""
        try:
            main.run()
            code = 0
        except SystemExit as end:
            # A text as exit code is printed to stderr by the interpreter, which then exits with 1.
            message = end.code if isinstance(end.code, str) else ""
            code = 1 if message else int(end.code or 0)
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err + message)

    return run
