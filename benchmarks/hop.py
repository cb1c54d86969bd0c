"""What one hop through a proxy costs: Tenantry's router beside nginx with a consistent hash, in one run.

    python benchmarks/hop.py [--seconds 3] [--rounds 5] [--connections 16] [--out hop.json]

Each proxy is one process on one core; the same nginx behind them answers a constant, so that the proxies are
what is measured. Rounds alternate between the proxies, so that whatever else the machine does meets both.
Needs nginx and wrk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tenantry_core.http.client import Pool, UpstreamError, UpstreamResponse
from tenantry_core.http.encoding import problem_response
from tenantry_core.http.messages import Handler, Reply, Request, Response
from tenantry_core.http.server import Application, Settings, serve
from tenantry_core.problems import Problem
from tenantry_core.slices import Entry, Reference, SliceContent, Target
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder

USERS = 64
BODY = '[{"amount": 12.5, "hour": 7, "weekday": 3, "returning": 1}]'
ANSWER = "[0.8251]"
_PACKAGES = {"nginx": "nginx", "wrk": "wrk"}

_BACKEND = """
daemon off; master_process off; pid {folder}/backend.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/body;
  {servers}
}}
"""
_BACKEND_SERVER = """server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type application/json; add_header Tenantry-Cache hit; return 200 '{answer}'; }}
  }}"""
_PROXY = """
daemon off; master_process off; pid {folder}/proxy.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/temp;
  upstream slots {{ hash $uri consistent; {servers} keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://slots; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
_SCRIPT = """
local requests, turn = {{}}, 0
function init()
  for user = 1, {users} do
    local fields = {{["Content-Type"] = "application/json"}}
    requests[user] = wrk.format("POST", "/predict/acme:" .. user, fields, '{body}')
  end
end
function request()
  turn = turn % {users} + 1
  return requests[turn]
end
function done(summary, latency)
  local e = summary.errors
  local form = 'RESULT{{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "errors": %d}}\\n'
  io.write(string.format(form, summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Proxy:
    """A proxy process that listens."""

    name: str
    port: int
    pid: int


@dataclass(frozen=True)
class Round:
    """One run of wrk against one proxy; latencies and CPU time in microseconds."""

    throughput: float
    p50: float
    p99: float
    cpu: float
    errors: int


def main() -> None:
    """Measure, print a table, write the figures."""
    arguments = _parser().parse_args()
    if arguments.bare is not None:
        serve_bare(arguments.bare[0], arguments.bare[1:])
        return
    _require_programs()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        proxies = start(Path(folder), stack)
        script = Path(folder) / "wrk.lua"
        script.write_text(_SCRIPT.format(users=USERS, body=BODY))
        rounds: dict[str, list[Round]] = {proxy.name: [] for proxy in proxies}
        for _ in range(arguments.rounds):
            for proxy in proxies:
                rounds[proxy.name].append(measure(proxy, script, arguments.seconds, arguments.connections))
    report(rounds, arguments.connections, arguments.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3, help="of each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="per proxy (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="of the client (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    parser.add_argument("--bare", type=int, nargs="+", help=argparse.SUPPRESS)
    return parser


def _require_programs() -> None:
    missing = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
    if missing:
        sys.exit(f"Please install {' and '.join(missing)} first (apt-get install {' '.join(missing)}).")


# The processes


def start(folder: Path, stack: contextlib.ExitStack) -> list[Proxy]:
    """Two backends in one process, and the proxies before them; all end with `stack`."""
    slots = [free_port(), free_port()]
    servers = "\n  ".join(_BACKEND_SERVER.format(port=port, answer=ANSWER) for port in slots)
    (folder / "backend.conf").write_text(_BACKEND.format(folder=folder, servers=servers))
    stack.enter_context(running(["nginx", "-c", str(folder / "backend.conf")], slots[0], core=-1))
    write_snapshot(folder / "snapshot", slots)
    return [
        stack.enter_context(proxy(name, command, port))
        for name, command, port in (
            nginx(folder, slots, free_port()),
            router(folder, free_port()),
            bare(slots, free_port()),
        )
    ]


def nginx(folder: Path, slots: list[int], port: int) -> tuple[str, list[str], int]:
    servers = " ".join(f"server 127.0.0.1:{slot};" for slot in slots)
    config = folder / "proxy.conf"
    config.write_text(_PROXY.format(folder=folder, servers=servers, port=port))
    return "nginx", ["nginx", "-c", str(config)], port


def router(folder: Path, port: int) -> tuple[str, list[str], int]:
    command = [sys.executable, "-m", "tenantry_router", "--snapshot", str(folder / "snapshot")]
    return "tenantry", [*command, "--port", str(port), "--log-level", "warning"], port


def bare(slots: list[int], port: int) -> tuple[str, list[str], int]:
    """The router's HTTP core alone: no table, deadline, retry, headers or metrics."""
    return "core alone", [sys.executable, __file__, "--bare", str(port), *map(str, slots)], port


@contextlib.contextmanager
def proxy(name: str, command: list[str], port: int) -> Iterator[Proxy]:
    with running(command, port, core=0) as process:
        yield Proxy(name, port, process.pid)


@contextlib.contextmanager
def running(command: list[str], port: int, *, core: int) -> Iterator[subprocess.Popen[bytes]]:
    """The command on one core, from when its port accepts connections to the end of the block."""
    process = subprocess.Popen([*pinned(core), *command])
    try:
        wait_for_port(process, port)
        yield process
    finally:
        process.terminate()
        process.wait()


def pinned(core: int) -> list[str]:
    """Proxies get the first core, the client and the backend the last, where there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1 or shutil.which("taskset") is None:
        return []
    return ["taskset", "-c", str(cores[core])]


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{process.args!r} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    sys.exit(f"{process.args!r} does not listen on port {port}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def write_snapshot(path: Path, ports: list[int]) -> None:
    """One model on all slots, as an operator would write it."""
    names = tuple(f"default-{index}" for index in range(len(ports)))
    target = Target(Reference("file:///models/acme.onnx", "onnx", "0" * 64), names)
    entry = Entry("models.acme", "1", "2026-01-01T00:00:00Z", 1, "acme", "default", targets=(target,))
    folder = SnapshotFolder(path)
    folder.write_slice("placement-0-0", SliceContent((entry,)))
    slots = zip(names, ports, strict=True)
    folder.write_addresses(
        AddressBook(tuple(SlotAddress(slot, "default", "127.0.0.1", {"http": port}) for slot, port in slots))
    )


# The measurement


def measure(proxy: Proxy, script: Path, seconds: int, connections: int) -> Round:
    """One round."""
    before = cpu_seconds(proxy.pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script)]
    url = f"http://127.0.0.1:{proxy.port}"
    output = subprocess.run([*pinned(-1), *command, url], capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(proxy.pid) - before
    figures = json.loads(output.split("RESULT", 1)[1])
    requests = figures["requests"]
    throughput = requests / figures["microseconds"] * 1e6
    return Round(throughput, figures["p50"], figures["p99"], used / requests * 1e6, figures["errors"])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(rounds: dict[str, list[Round]], connections: int, out: Path | None) -> None:
    medians = {name: median(each) for name, each in rounds.items()}
    first = next(iter(medians.values()))
    print(f"one hop, {connections} connections, medians of {len(next(iter(rounds.values())))} rounds")
    columns = ("requests/s", "p50 us", "p99 us", "CPU us", "throughput", "CPU", "errors")
    print(" " * 12 + "".join(f"{column:>11}" for column in columns))
    for name, one in medians.items():
        ratios = f"{one.throughput / first.throughput:.2f}x", f"{one.cpu / first.cpu:.2f}x"
        print(f"{name:12}{one.throughput:11.0f}{one.p50:11.0f}{one.p99:11.0f}{one.cpu:11.1f}", end="")
        print(f"{ratios[0]:>11}{ratios[1]:>11}{one.errors:11}")
    if out is not None:
        document = {
            name: {"median": asdict(medians[name]), "rounds": [asdict(one) for one in each]}
            for name, each in rounds.items()
        }
        out.write_text(json.dumps({"connections": connections, "proxies": document}, indent=2) + "\n")


def median(rounds: list[Round]) -> Round:
    """The median of each figure; errors are added up."""
    figures = {
        name: statistics.median(getattr(one, name) for one in rounds)
        for name in ("throughput", "p50", "p99", "cpu")
    }
    return Round(**figures, errors=sum(one.errors for one in rounds))


# The core alone


class _Bare:
    """Sends each request on, by a hash of its path."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._pools: list[Pool] = []

    def match(self, method: bytes, path: bytes) -> Handler | None:
        return self._forward

    def _forward(self, request: Request, reply: Reply) -> None:
        if not self._pools:
            self._pools = [Pool("127.0.0.1", port) for port in self._ports]
        pool = self._pools[hash(request.path) % len(self._pools)]
        head = b"%b %b HTTP/1.1\r\nhost: slot\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"

        def done(result: UpstreamResponse | UpstreamError) -> None:
            if isinstance(result, UpstreamError):
                reply.send(problem_response(Problem(502, str(result))))
            else:
                reply.send(Response(result.status, ((b"content-type", b"application/json"),), result.body))

        call = pool.send(head % (request.method, request.path, len(request.body)) + request.body, done)
        reply.on_disconnect = call.cancel


async def _no_application(scope: object, receive: object, send: object) -> None:
    raise NotImplementedError


def serve_bare(port: int, slots: list[int]) -> None:
    """Serve until SIGTERM."""
    serve(lambda: Application(_no_application, _Bare(slots)), Settings(port=port, log_level="critical"))


if __name__ == "__main__":
    main()
