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
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from processes import free_port, require, running
from tenantry_core.http.client import Pool, UpstreamError, UpstreamResponse
from tenantry_core.http.encoding import problem_response
from tenantry_core.http.messages import Handler, Reply, Request, Response
from tenantry_core.http.server import Application, Settings, serve
from tenantry_core.problems import Problem
from tenantry_core.slices import Entry, Reference, SliceContent, Target
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder
from wrk import Round, Server, measure, median, table, write_script

USERS = 64
BODY = '[{"amount": 12.5, "hour": 7, "weekday": 3, "returning": 1}]'
ANSWER = "[0.8251]"

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


def main() -> None:
    """Measure, print a table, write the figures."""
    arguments = _arguments()
    if arguments.bare is not None:
        serve_bare(arguments.bare[0], arguments.bare[1:])
        return
    require("nginx", "wrk")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        proxies = start(folder, stack)
        script = folder / "wrk.lua"
        write_script(script, prefix="/predict/acme:", paths=USERS, body=BODY)
        rounds: dict[str, list[Round]] = {proxy.name: [] for proxy in proxies}
        for _ in range(arguments.rounds):
            for proxy in proxies:
                measured = measure(
                    proxy, script, seconds=arguments.seconds, connections=arguments.connections, core=-1
                )
                rounds[proxy.name].append(measured)
    print(f"one hop, {arguments.connections} connections, medians of {arguments.rounds} rounds")
    print(table(rounds, beside="nginx"))
    if arguments.out is not None:
        write(rounds, arguments.connections, arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3, help="of each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="per proxy (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="of the client (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    parser.add_argument("--bare", type=int, nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def write(rounds: dict[str, list[Round]], connections: int, out: Path) -> None:
    document = {
        name: {"median": asdict(median(each)), "rounds": [asdict(one) for one in each]}
        for name, each in rounds.items()
    }
    out.write_text(json.dumps({"connections": connections, "proxies": document}, indent=2) + "\n")


# The processes


def start(folder: Path, stack: contextlib.ExitStack) -> list[Server]:
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
def proxy(name: str, command: list[str], port: int) -> Iterator[Server]:
    """One process on the first core; the client and the backend have the last."""
    with running(command, port, core=0) as process:
        yield Server(name, port, (process.pid,))


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
