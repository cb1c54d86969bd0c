"""Rounds of load by wrk, and their medians."""

from __future__ import annotations

import json
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

from processes import cpu_seconds, pinned

_SCRIPT = """
local requests, turn = {{}}, 0
function init()
  for number = 1, {paths} do
    requests[number] = wrk.format("POST", "{prefix}" .. number - 1,
      {{["Content-Type"] = "application/json"}}, '{body}')
  end
end
function request()
  turn = turn % {paths} + 1
  return requests[turn]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('RESULT{{"requests":%d, "microseconds":%d, "p50":%d, "p99":%d, "errors":%d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Server:
    """What is measured: it listens on `port`; the CPU time of all its processes counts."""

    name: str
    port: int
    pids: tuple[int, ...]


@dataclass(frozen=True)
class Round:
    """One run of wrk: answers a second; latencies, and CPU time a request, in microseconds."""

    throughput: float
    p50: float
    p99: float
    cpu: float
    errors: int


def write_script(path: Path, *, prefix: str, paths: int, body: str) -> None:
    """Requests to `prefix0`, `prefix1` ... in turn, each a POST of `body`."""
    path.write_text(_SCRIPT.format(prefix=prefix, paths=paths, body=body))


def measure(
    server: Server, script: Path, *, seconds: int, connections: int, core: int | None = None
) -> Round:
    """One round, with the client on `core`."""
    before = sum(cpu_seconds(pid) for pid in server.pids)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script)]
    url = f"http://127.0.0.1:{server.port}"
    output = subprocess.run([*pinned(core), *command, url], capture_output=True, text=True, check=True).stdout
    used = sum(cpu_seconds(pid) for pid in server.pids) - before
    figures = json.loads(output.split("RESULT", 1)[1])
    requests = figures["requests"]
    throughput = requests / figures["microseconds"] * 1e6
    return Round(throughput, figures["p50"], figures["p99"], used / requests * 1e6, figures["errors"])


def median(rounds: list[Round]) -> Round:
    """The median of each figure; errors are added up."""
    names = ("throughput", "p50", "p99", "cpu")
    figures = {name: statistics.median(getattr(one, name) for one in rounds) for name in names}
    return Round(**figures, errors=sum(one.errors for one in rounds))


def table(rounds: dict[str, list[Round]], *, beside: str) -> str:
    """A line a server: medians, and the ratios to the server called `beside`."""
    medians = {name: median(each) for name, each in rounds.items()}
    base = medians[beside]
    lines = [
        f"{'':12}{'requests/s':>11}{'p50 us':>9}{'p99 us':>9}"
        f"{'CPU us':>9}{'throughput':>12}{'CPU':>8}{'errors':>8}"
    ]
    lines += [
        f"{name:12}{one.throughput:11.0f}{one.p50:9.0f}{one.p99:9.0f}{one.cpu:9.1f}"
        f"{one.throughput / base.throughput:11.2f}x{one.cpu / base.cpu:7.2f}x{one.errors:8}"
        for name, one in medians.items()
    ]
    return "\n".join(lines)
