"""What a predictor is given stays with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_runtime_keeps_no_identifier_of_this_machine_to_report_under(tmp_path: Path) -> None:
    # Under either of the first two the runtime reports nothing in any case.
    unset = ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    load = "import tenantry_predictor.runtimes.onnx"
    subprocess.run(
        [sys.executable, "-c", load], env=environment | {"HOME": str(tmp_path)}, timeout=120, check=True
    )
    assert list(tmp_path.iterdir()) == []
