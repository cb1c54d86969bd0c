"""What one hop costs: Tenantry's router beside nginx and HAProxy with consistent hashes, in one run.

    python benchmarks/hop.py [--rounds 5] [--seconds 3] [--image router.tar] [--out hop.json]

Each proxy is one process on one core; the same nginx behind them answers a constant, so that the proxies are
what is measured. Rounds alternate between the proxies, so that whatever else the machine does meets both.

Four loads: as much as `--connections` bring, where wrk checks statuses only (reading bodies in its Lua takes
longer than a proxy); one connection, beside the server without a proxy, with all on one core, so that nobody
waits for another core to wake up, and with the proxy on a core of its own; and half of what each proxy has
managed, by connections that pause. But for the first, every body is checked. Needs nginx, haproxy and wrk.

With `--image` the router of that image takes part, too: on the Python that it is deployed with.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

import image
from processes import free_port, move, require, running
from proxies import haproxy, nginx, one_process, router
from tenantry_core.http.client import Pool, UpstreamError, UpstreamResponse
from tenantry_core.http.encoding import problem_response
from tenantry_core.http.messages import Handler, Reply, Request, Response
from tenantry_core.http.server import Application, Settings, serve
from tenantry_core.problems import Problem
from tenantry_core.slices import Entry, Reference, SliceContent, Target
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder
from wrk import Round, Server, measure, median, table, write_checked_script, write_script

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
_PAUSE = 4
"""Milliseconds on average between an answer and the connection's next request, at half load."""

DIRECT = "no proxy"
SATURATED, ONE, APART, HALF = "at saturation", "one connection", "one connection, two cores", "half load"
Rounds = dict[str, list[Round]]


def main() -> None:
    """Measure, print a table, write the figures."""
    arguments = _arguments()
    if arguments.bare is not None:
        serve_bare(arguments.bare[0], arguments.bare[1:])
        return
    require("nginx", "haproxy", "wrk")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        loads = run(Path(name), stack, arguments)
    for title, rounds in loads.items():
        print(f"\n{title}, medians of {arguments.rounds} rounds")
        print(table(rounds, beside="nginx"))
    if arguments.out is not None:
        write(loads, arguments.connections, arguments.out)
    if sum(one.errors for rounds in loads.values() for each in rounds.values() for one in each):
        sys.exit("some answers were wrong, or did not come")


def run(folder: Path, stack: contextlib.ExitStack, arguments: argparse.Namespace) -> dict[str, Rounds]:
    """The rounds of each load."""
    direct, *proxies = start(folder, stack, arguments.image)
    most, checked, paused = folder / "most.lua", folder / "checked.lua", folder / "paused.lua"
    write_script(most, prefix="/predict/acme:", paths=USERS, body=BODY)
    targets: list[tuple[str, dict[str, str]]] = [(f"/predict/acme:{user}", {}) for user in range(USERS)]
    write_checked_script(checked, targets=targets, body=BODY, before="[", answers=[ANSWER.lstrip("[")])
    paused.write_text(checked.read_text() + f"function delay() return math.random(0, {2 * _PAUSE}) end\n")

    def rounds(servers: list[Server], script: Path, connections: dict[str, int]) -> Rounds:
        found: Rounds = {server.name: [] for server in servers}
        for _ in range(arguments.rounds):
            for server in servers:
                count = connections.get(server.name, 1)
                found[server.name].append(
                    measure(server, script, seconds=arguments.seconds, connections=count, core=-1)
                )
        return found

    saturated = rounds(proxies, most, {proxy.name: arguments.connections for proxy in proxies})
    half = {
        name: max(1, round(median(each).throughput / 2 * _PAUSE / 1000)) for name, each in saturated.items()
    }
    halved = rounds(proxies, paused, half)
    apart = rounds([direct, *proxies], checked, {})
    for proxy in proxies:
        move(proxy.pids, core=-1)
    one = rounds([direct, *proxies], checked, {})
    return {SATURATED: saturated, ONE: one, APART: apart, HALF: halved}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3, help="of each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="per proxy (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="of the client (default: %(default)s)")
    parser.add_argument("--image", type=Path, help="an archive of the router's image, to be unpacked as root")
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    parser.add_argument("--bare", type=int, nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def write(loads: dict[str, Rounds], connections: int, out: Path) -> None:
    document = {
        "summary": summary(loads),
        "connections": connections,
        "loads": {
            title: {
                name: {"median": asdict(median(each)), "rounds": [asdict(one) for one in each]}
                for name, each in rounds.items()
            }
            for title, rounds in loads.items()
        },
    }
    out.write_text(json.dumps(document, indent=2) + "\n")


def summary(loads: dict[str, Rounds]) -> list[dict[str, object]]:
    """What was promised, and what was reached."""
    most = {name: median(each) for name, each in loads[SATURATED].items()}
    one = {name: median(each) for name, each in loads[ONE].items()}
    ratio = most["tenantry"].throughput / most["nginx"].throughput
    rows: list[tuple[str, float, str, float, str]] = [
        ("router hop vs nginx consistent hash, requests/s on one core", round(ratio, 2), "x", 0.8, "more"),
        (
            "added latency, p50, one connection, one core",
            one["tenantry"].p50 - one[DIRECT].p50,
            "us",
            120,
            "less",
        ),
        ("router, CPU a request", round(most["tenantry"].cpu, 1), "us", 35, "less"),
    ]
    return [dict(zip(("what", "value", "unit", "target", "better"), row, strict=True)) for row in rows]


# The processes


def start(folder: Path, stack: contextlib.ExitStack, archive: Path | None) -> list[Server]:
    """Two backends in one process, the first of them as a server too; and the proxies before them."""
    slots = [free_port(), free_port()]
    servers = "\n  ".join(_BACKEND_SERVER.format(port=port, answer=ANSWER) for port in slots)
    (folder / "backend.conf").write_text(_BACKEND.format(folder=folder, servers=servers))
    backend = stack.enter_context(running(["nginx", "-c", str(folder / "backend.conf")], slots[0], core=-1))
    write_snapshot(folder / "snapshot", slots)
    proxies = [nginx(folder, slots), haproxy(folder, slots), router(folder / "snapshot"), bare(slots)]
    if archive is not None:
        image.unpack(archive, folder / "image")
        write_snapshot(folder / "image" / "snapshot", slots)
        proxies.append(image.router(folder / "image", folder / "image" / "snapshot"))
    return [Server(DIRECT, slots[0], (backend.pid,)), *map(stack.enter_context, proxies)]


def bare(slots: list[int]) -> AbstractContextManager[Server]:
    """The router's HTTP core alone: no table, deadline, retry, headers or metrics."""
    port = free_port()
    command = [sys.executable, __file__, "--bare", str(port), *map(str, slots)]
    return one_process("core alone", command, port)


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

        data = head % (request.method, request.path, len(request.body)) + request.body
        call = pool.send(data, done, share=True)
        reply.on_disconnect = call.cancel


async def _no_application(scope: object, receive: object, send: object) -> None:
    raise NotImplementedError


def serve_bare(port: int, slots: list[int]) -> None:
    """Serve until SIGTERM."""
    serve(lambda: Application(_no_application, _Bare(slots)), Settings(port=port, log_level="critical"))


if __name__ == "__main__":
    main()
