#!/usr/bin/env python3
"""Try the targets of tests/fuzz one after the other; what is found stays in .fuzz/ and is gone on from."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = sorted(path.name for path in (ROOT / "tests/fuzz/corpus").iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "target", nargs="*", choices=[*TARGETS, []], help=f"default: all of {', '.join(TARGETS)}"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each (default: 60)")
    arguments = parser.parse_args()
    failed = [name for name in arguments.target or TARGETS if not _try(name, arguments.seconds)]
    if failed:
        sys.exit(f"{', '.join(failed)}: see the report above; what led to it is in .fuzz/")


def _try(name: str, seconds: int) -> bool:
    found = ROOT / ".fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    print(f"\n{name}, for {seconds} s", flush=True)
    options = [
        f"-max_total_time={seconds}",
        "-print_final_stats=1",
        f"-artifact_prefix={found.parent}/{name}-",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "fuzz", name, *options, str(found)]
    return subprocess.run(command, env=environment, check=False).returncode == 0


if __name__ == "__main__":
    main()
