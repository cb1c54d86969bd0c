"""From a manifest to an answer: a real API server with etcd, an S3 server, an operator, slots and a router.

    python tests/cluster/build.py    # once
    PYTHONPATH=tests python benchmarks/control_plane.py [--models 1000] [--tries 10] [--out figures.json]

Two figures: how long one model takes from its manifest to its first right answer through the router, with and
without a digest in the manifest; and how long many take that are applied at once, until all are in
PlacementSlices and until the router knows them all. Applying them is the client's and the API server's share,
so it is told apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cluster.controlplane import ControlPlane
from cluster.errors import StartError
from cluster.s3server import S3Server
from integration import artifacts
from integration.harness import Installation
from integration.waiting import wait_for

CLIENTS = 8
"""Threads that apply manifests."""
PATIENCE = 300.0
"""Seconds after which a measurement is given up."""


def main() -> None:
    """Start everything, measure, print."""
    arguments = _arguments()
    root = Path(__file__).resolve().parents[1]
    figures: dict[str, float] = {}
    try:
        with ControlPlane() as plane, S3Server() as s3:
            plane.kubectl("apply", "--server-side", "-f", str(root / "crds"))
            plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
            with Installation(plane, s3) as installation:
                figures |= first_answers(installation, arguments.tries)
                figures |= many(installation, arguments.models)
    except StartError as error:
        sys.exit(str(error))
    for name, seconds in figures.items():
        print(f"{name:60}{seconds:9.2f} s")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=1000, help="applied at once (default: %(default)s)")
    parser.add_argument("--tries", type=int, default=10, help="for the median of one (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the figures to this file, as JSON")
    return parser.parse_args()


def first_answers(installation: Installation, tries: int) -> dict[str, float]:
    """Seconds from just before the manifest is applied to the first right answer, medians."""
    pinned, resolved = [], []
    for number in range(tries):
        artifact = installation.publish(f"pinned-{number}", number, 1)
        pinned.append(_until_answer(installation, f"pinned-{number}", artifact, number + 1))
        artifact = {"uri": installation.publish(f"resolved-{number}", number, 2)["uri"]}
        resolved.append(_until_answer(installation, f"resolved-{number}", artifact, number + 2))
    return {
        "apply to first answer, digest in the manifest (median)": statistics.median(pinned),
        "apply to first answer, digest resolved first (median)": statistics.median(resolved),
    }


def _until_answer(installation: Installation, name: str, artifact: dict[str, Any], expected: float) -> float:
    began = time.monotonic()
    installation.apply(name, artifact)
    installation.wait_answers(name, expected, PATIENCE)
    return time.monotonic() - began


def many(installation: Installation, count: int) -> dict[str, float]:
    """Seconds from just before the first manifest is applied."""
    content = artifacts.linear(1, 1)
    artifact = {"uri": installation.put("many.onnx", content), "sha256": artifacts.digest(content)}
    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda number: installation.apply(f"many-{number}", artifact), range(count)))
    applied = time.monotonic() - began
    wait_for(lambda: _placed(installation) == count, PATIENCE, "all are in slices")
    placed = time.monotonic() - began
    wait_for(lambda: _routed(installation) == count, PATIENCE, "the router knows all")
    return {
        f"{count} models: applied": applied,
        f"{count} models: all in slices": placed,
        f"{count} models: all known to the router": time.monotonic() - began,
    }


def _placed(installation: Installation) -> int:
    return sum(model.startswith("default.many-") for model in installation.placement())


def _routed(installation: Installation) -> int:
    index = installation.router.post("/v2/repository/index").json()
    return sum(one["name"].startswith("many-") and one["state"] == "READY" for one in index)


if __name__ == "__main__":
    main()
