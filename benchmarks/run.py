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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import picture

HERE = Path(__file__).parent
LIMITS = {
    "hop": 420,
    "warm": 900,
    "memory": 600,
    "eviction": 240,
    "eviction_live": 240,
    "cold_start": 240,
    "routing": 240,
    "planner": 180,
}
"""Seconds that each may take, half as many again as it does and more; they run in this order."""
_GRACE = 30
"""Seconds to end in."""


def main() -> None:
    """Run, print the table, draw."""
    arguments = _arguments()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    failed = {name: why for name in arguments.only if (why := _run(name, out))}
    print(f"\n{table(out, arguments.only, failed)}")
    if not {"warm", "memory"} & failed.keys() and picture.drawn(out, out / "peers.svg"):
        print(f"\npicture: {out / 'peers.svg'}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; what they said is in {out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    parser.add_argument(
        "--out", type=Path, default=HERE.parent / "build" / "bench", help="folder of all figures"
    )
    return parser.parse_args()


def _run(name: str, out: Path) -> str:
    """Why it failed, or nothing; its figures of another run are gone in any case."""
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
        why = _waited(process, LIMITS[name])
    print(log.read_text(errors="replace").rstrip())
    print(f"({time.monotonic() - begun:.0f} s)", flush=True)
    if why:
        print(f"{name} failed: {why}", flush=True)
    return why


def _waited(process: subprocess.Popen[bytes], seconds: int) -> str:
    """Why it failed, or nothing; what it started has ended with it."""
    try:
        code = process.wait(seconds)
        return f"it ended with {code}" if code else ""
    except subprocess.TimeoutExpired:
        return f"not done in {seconds} s"
    finally:
        process.send_signal(signal.SIGINT)  # if it still runs; unlike SIGTERM, it lets it end what it started
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        with contextlib.suppress(ProcessLookupError):  # nothing of it is left, as it should be
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def table(out: Path, names: Iterable[str], failed: Mapping[str, str]) -> str:
    """What each benchmark says of what was promised, as Markdown. One that failed may say a part of it."""
    lines = ["| what | measured | at least | reached |", "|---|---|---|---|"]
    for name in names:
        figures = out / f"{name}.json"
        summary = json.loads(figures.read_text())["summary"] if figures.exists() else []
        lines += [_line(row) for row in summary]
        if name in failed or not summary:
            lines.append(f"| {name}: {failed.get(name, 'nothing measured')} | | | no |")
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
