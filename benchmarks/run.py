"""All benchmarks of what Tenantry promises, one after the other, and what of it was reached.

    python benchmarks/run.py [--only warm memory] [--out build/bench]

Each writes its figures as JSON and what it says as a log into one folder. One that fails does not keep the
others from running, and makes this exit with 1. The picture of the README, `peers.svg`, is drawn there, too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import picture

HERE = Path(__file__).parent
BENCHMARKS = ("hop", "warm", "memory", "eviction", "cold_start", "routing", "planner")
LIMIT = 900
"""Seconds a benchmark may take."""


def main() -> None:
    """Run, print the table, draw."""
    arguments = _arguments()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    failed = [name for name in arguments.only if not _run(name, out)]
    print(f"\n{table(out)}")
    if not {"warm", "memory"} & set(failed) and picture.drawn(out, out / "peers.svg"):
        print(f"\npicture: {out / 'peers.svg'}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; what they said is in {out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS)
    parser.add_argument(
        "--out", type=Path, default=HERE.parent / "build" / "bench", help="folder of all figures"
    )
    return parser.parse_args()


def _run(name: str, out: Path) -> bool:
    """Whether it ended well; its figures of another run are gone in any case."""
    figures, log = out / f"{name}.json", out / f"{name}.log"
    figures.unlink(missing_ok=True)
    print(f"\n# {name}", flush=True)
    begun = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(HERE.parent / "tests")}
    command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(figures)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            code: int | str = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            code = f"more than {LIMIT} s"
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing of it is left, as it should be
                os.killpg(process.pid, signal.SIGTERM)
    print(log.read_text(errors="replace").rstrip())
    print(f"({time.monotonic() - begun:.0f} s)", flush=True)
    if code != 0:
        print(f"{name} failed: {code}", flush=True)
    return code == 0 and figures.exists()


def table(out: Path) -> str:
    """What each benchmark says of what was promised, as Markdown."""
    lines = ["| what | measured | at least | reached |", "|---|---|---|---|"]
    for name in BENCHMARKS:
        figures = out / f"{name}.json"
        summary = json.loads(figures.read_text()).get("summary", []) if figures.exists() else []
        lines += [_line(row) for row in summary] or [f"| {name}: nothing measured | | | |"]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    value, unit, target = row["value"], row.get("unit", ""), row.get("target")
    if target is None:
        return f"| {row['what']} | {_number(value)} {unit} | | |"
    reached = value >= target if row.get("better", "more") == "more" else value <= target
    bound = "" if row.get("better", "more") == "more" else "at most "
    answer = "yes" if reached else "no"
    return f"| {row['what']} | {_number(value)} {unit} | {bound}{_number(target)} {unit} | {answer} |"


def _number(value: float) -> str:
    """Four digits that count, and all of a larger number."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    main()
