"""Rounds of load by wrk, and their medians."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from processes import cpu_seconds, pinned, tree

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
"""
_CHECKED_SCRIPT = """
local targets, body, before = {targets}, {body}, {before}
local requests, expected, turn = {{}}, {{}}, 0
threads, wrong = {{}}, 0
function setup(thread) table.insert(threads, thread) end
function init()
  for number, target in ipairs(targets) do
    requests[number] = wrk.format("POST", target.path, target.headers, body)
  end
  for _, answer in ipairs({answers}) do expected[answer] = true end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function response(status, headers, answer)
  local _, begun = answer:find(before, 1, true)
  local last = begun and answer:find("]", begun + 1, true)
  if not last or not expected[answer:sub(begun + 1, last)] then wrong = wrong + 1 end
end
"""
_FILE_SCRIPT = """
local file = io.open("{file}", "rb")
wrk.method, wrk.path, wrk.body = "POST", "{path}", file:read("*a")
"""
_RESULT = """
function done(summary, latency)
  local e, unexpected = summary.errors, 0
  for _, thread in ipairs(threads or {}) do unexpected = unexpected + thread:get("wrong") end
  io.write(string.format('RESULT{"requests":%d, "microseconds":%d, "p50":%d, "p99":%d, "errors":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout + math.max(e.status, unexpected)))
end
"""


@dataclass(frozen=True)
class Server:
    """What is measured: it listens on `port`; the CPU time of its processes and of all below them counts."""

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
    path.write_text(_SCRIPT.format(prefix=prefix, paths=paths, body=body) + _RESULT)


def write_file_script(path: Path, *, target: str, body: Path, headers: Mapping[str, str]) -> None:
    """Requests to `target`, each a POST of what the file `body` holds."""
    lines = [f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers.items()]
    path.write_text("".join([_FILE_SCRIPT.format(file=body, path=target), *lines, _RESULT]))


def write_checked_script(
    path: Path,
    *,
    targets: Sequence[tuple[str, Mapping[str, str]]],
    body: str,
    before: str,
    answers: Iterable[str],
) -> None:
    """Requests to these targets, a path and headers each, in turn.

    The part of an answer from behind `before` to the next `]` has to be one of `answers`, or it is an error.
    """
    listed = [
        {"path": path, "headers": {"Content-Type": "application/json", **headers}}
        for path, headers in targets
    ]
    script = _CHECKED_SCRIPT.format(
        targets=_lua(listed), body=_lua(body), before=_lua(before), answers=_lua(sorted(set(answers)))
    )
    path.write_text(script + _RESULT)


def _lua(value: object) -> str:
    """Lists, dictionaries and text as Lua writes them; its texts are those of JSON."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"[{_lua(key)}]={_lua(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(_lua, value)) + "}"
    return json.dumps(value, ensure_ascii=False)


def measure(
    server: Server, script: Path, *, seconds: int, connections: int, core: int | None = None
) -> Round:
    """One round, with the client on `core`."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script)]
    return run([*pinned(core), *command, f"http://127.0.0.1:{server.port}"], server)


def run(command: list[str], server: Server) -> Round:
    """One round of a client that prints its figures as wrk's script does."""
    before = _cpu_seconds(server.pids)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = _cpu_seconds(server.pids) - before
    figures = json.loads(output.split("RESULT", 1)[1])
    requests = figures["requests"]
    throughput = requests / figures["microseconds"] * 1e6
    return Round(throughput, figures["p50"], figures["p99"], used / max(requests, 1) * 1e6, figures["errors"])


def _cpu_seconds(pids: Iterable[int]) -> float:
    total = 0.0
    for pid in tree(pids):
        with contextlib.suppress(OSError):  # it ended meanwhile
            total += cpu_seconds(pid)
    return total


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
