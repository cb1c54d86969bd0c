"""What a router process carries along."""

from __future__ import annotations

import subprocess
import sys


def test_a_router_does_without_the_kubernetes_client_which_is_for_its_feeder() -> None:
    listing = "import sys, tenantry_router.__main__; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"aiohttp", "kubernetes"} & set(answer.stdout.split())
