"""How far the control plane goes: many TenantModels on a real API server, a real operator and a real router.

    python tests/cluster/build.py    # once
    PYTHONPATH=tests python benchmarks/scale.py [--models 10000] [--slots 100] [--out figures.json]

Nodes and pods only pretend (kwok): slots have addresses that answer nothing, so what is measured is the way
of a manifest into a router's table, without loads. All of it runs in a network namespace of its own, where
those addresses lead nowhere.

Time counts from the operator's start, with every object there and the router running: until all models are in
PlacementSlices and in the router's table, and for one more that is applied meanwhile and afterwards. Then the
statuses, a restart of the operator (nothing should be written) and the loss of a slot (only its share moves).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import msgspec

from cluster.controlplane import ControlPlane
from cluster.errors import StartError
from cluster.ports import free_ports
from integration.kube import OWN, ApiError, Kube
from integration.waiting import wait_for
from processes import cpu_seconds
from tenantry_core.version import VERSION

NAMESPACE = "tenantry"
POD_ADDRESSES = "10.244.0.0/16"
"""What the fake nodes give their pods."""
CLIENTS = 32
"""Requests under way while objects are created."""
TRIES = 10
"""Changes made one after the other, for their median."""
EVERY = 1.0
"""Seconds between changes that are made while everything else is placed."""
LOOK = 0.25
"""Seconds between looks whether all are placed."""
LOOKED_FOR = 3
"""Of the changes under way, those that are looked for at a time."""
QUIET = 10.0
"""Seconds for which is watched whether an operator keeps still."""
IDLE = 0.3
"""CPU seconds a second below which the API server and etcd have nothing left to do of their own."""
PATIENCE = 1800.0
"""Seconds after which a measurement is given up."""

Figure = tuple[str, Any]

_INSIDE = "TENANTRY_SCALE_INSIDE"
_MODELS = f"{OWN}/namespaces/default/tenantmodels"
_SLICES = f"{OWN}/namespaces/{NAMESPACE}/placementslices"
_STATUSES = "PATCH tenantmodels/status"
_REQUESTS = re.compile(
    r'^apiserver_request_total\{.*group="tenantry\.dev",resource="(\w+)",'
    r'.*subresource="(\w*)",verb="(\w+)",.*\} (\S+)$',
    re.MULTILINE,
)


def main() -> None:
    """Start everything, measure, print."""
    arguments = _arguments()
    if _INSIDE not in os.environ:
        _enter_namespace()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "route", "add", POD_ADDRESSES, "dev", "lo"], check=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or what was started would be left behind
    figures: dict[str, Any] = {}
    try:
        # What another version made of the pool would be rolled while this one is measured.
        stored = arguments.stored / f"{arguments.models}-{arguments.slots}-{VERSION}"
        if not stored.is_dir():
            prepare(stored, arguments.models, arguments.slots)
        with (
            ControlPlane(fake_nodes=1, stored=stored) as plane,
            Installation(plane, arguments.slots) as installation,
        ):
            for name, figure in measure(installation, arguments.models, arguments.statuses):
                figures[name] = figure
                print(f"{name:68}{figure:>14}", flush=True)
    except (StartError, AssertionError) as error:
        sys.exit(str(error))
    finally:
        if arguments.out is not None:
            arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=10_000, help="TenantModels (default: %(default)s)")
    parser.add_argument("--slots", type=int, default=100, help="of the pool (default: %(default)s)")
    parser.add_argument(
        "--statuses",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="go on after this time even if statuses still wait to be written (default: %(default)g)",
    )
    parser.add_argument(
        "--stored",
        type=Path,
        default=Path.home() / ".cache/tenantry/scale",
        help="where what etcd stores of so many objects is kept for the next run; remove it after a change of"
        " what the operator makes of a pool (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="write the figures to this file, as JSON")
    return parser.parse_args()


def _enter_namespace() -> None:
    """Run this program again in a network namespace of its own; its user needs no rights for that."""
    for program in ("unshare", "ip"):
        if shutil.which(program) is None:
            sys.exit(f"Please install {program} first (apt-get install util-linux iproute2).")
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--net", sys.executable, *sys.argv]
    os.execvpe(command[0], command, os.environ | {_INSIDE: "1"})


# What runs


class Installation:
    """A pool of slots that only pretend, a router, and an operator that can be started and stopped."""

    def __init__(self, plane: ControlPlane, slots: int) -> None:
        self.plane = plane
        self.slots = slots
        self.kube = Kube(plane.kubeconfig)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Installation:
        self.directory = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tenantry-scale-"))
        )
        os.environ["KUBECONFIG"] = str(self.plane.kubeconfig)
        self.plane.kubectl("apply", "--server-side", "-f", str(Path(__file__).parents[1] / "crds"))
        self.plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        with contextlib.suppress(ApiError):
            self.kube.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self.operator_port, self.router_port = free_ports(2)
        snapshot = f"--snapshot={self.directory / 'snapshot'}"
        flags = [snapshot, f"--port={self.router_port}", f"--feed-namespace={NAMESPACE}"]
        self.router = self._stack.enter_context(self._process("router", flags))
        wait_for(lambda: "tenantry_router_models" in self.metrics(self.router_port), 60, "a router")
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.router_port}", trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def operator(self) -> Iterator[int]:
        """The operator's process id, while it runs."""
        pool = self.directory / "pool.yaml"
        pool.write_text(json.dumps({"replicas": self.slots}))
        flags = [f"--namespace={NAMESPACE}", f"--default-pool={pool}", f"--metrics-port={self.operator_port}"]
        with self._process("operator", [*flags, "--standalone", "--router-url=http://router.example"]) as pid:
            yield pid

    @contextlib.contextmanager
    def _process(self, name: str, flags: list[str]) -> Iterator[int]:
        with (self.directory / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", f"tenantry_{name}", *flags]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()

    def metrics(self, port: int) -> dict[str, float]:
        """What a process tells Prometheus; empty while it does not listen."""
        try:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=30).text
        except httpx.HTTPError:
            return {}
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def routed(self) -> int:
        return int(self.metrics(self.router_port).get("tenantry_router_models", 0))

    def knows(self, name: str) -> bool:
        """Does the router's table hold the model?"""
        return self.http.get(f"/v2/models/{name}/ready").status_code == 200

    def misses(self, name: str) -> bool:
        return not self.knows(name)

    def requests(self) -> Counter[str]:
        """What the API server was asked so far of this project's resources, by what and verb."""
        found: Counter[str] = Counter()
        text = self.kube._http.get("/metrics").text
        for resource, subresource, verb, count in _REQUESTS.findall(text):
            found[f"{verb} {resource}{'/' * bool(subresource)}{subresource}"] += int(float(count))
        return found

    def wait_statuses(self, seconds: float) -> bool:
        """Until no status waits to be written any more, or for so long; whether none does."""
        deadline = time.monotonic() + seconds
        settled = 0
        while settled < 3 and time.monotonic() < deadline:
            metrics = self.metrics(self.operator_port)
            settled = settled + 1 if metrics.get('tenantry_operator_waiting{queue="statuses"}') == 0 else 0
            time.sleep(1)
        return settled == 3


def model(name: str) -> dict[str, Any]:
    """A manifest with a digest, so that it is routed at once."""
    sha256 = name.encode().hex().ljust(64, "0")[:64]
    return {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantModel",
        "metadata": {"name": name},
        "spec": {"artifact": {"uri": f"s3://models/{name}/{sha256[:12]}.onnx", "sha256": sha256}},
    }


async def create_models(plane: ControlPlane, names: list[str]) -> None:
    """Apply them as fast as the API server takes them."""
    config = json.loads(plane.kubeconfig.read_text())
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    context = ssl.create_default_context(cafile=str(plane.certificate_authority))
    waiting = iter(names)

    async def work(session: aiohttp.ClientSession) -> None:
        for name in waiting:
            async with session.post(_MODELS, json=model(name)) as response:
                assert response.status == 201, await response.text()

    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(plane.url, headers=headers, connector=connector) as session:
        await asyncio.gather(*(work(session) for _ in range(CLIENTS)))


class _Target(msgspec.Struct):
    slots: list[str]


class _Entry(msgspec.Struct):
    model: str
    targets: list[_Target] = []


class _Metadata(msgspec.Struct):
    name: str = ""


class _Slice(msgspec.Struct):
    metadata: _Metadata
    entries: list[_Entry] = []


class _Event(msgspec.Struct):
    type: str
    object: _Slice


class SliceWatch:
    """What PlacementSlices say, followed as a router does."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._slices: dict[str, dict[str, tuple[str, ...]]] = {}
        self.writes = 0
        threading.Thread(target=self._follow, daemon=True).start()

    def placement(self) -> dict[str, tuple[str, ...]]:
        """Slots by model, of what is routed."""
        return {m: slots for content in list(self._slices.values()) for m, slots in content.items()}

    def routed(self) -> int:
        """How many models are routed, of which none is in two slices."""
        return sum(map(len, list(self._slices.values())))

    def _follow(self) -> None:
        """Until the API server ends; it also ends watches that are too slow for it."""
        while True:
            try:
                self._watch()
            except httpx.ConnectError:
                return
            except httpx.TransportError:
                continue

    def _watch(self) -> None:
        params = {"watch": "true", "resourceVersion": "0", "timeoutSeconds": str(int(PATIENCE * 2))}
        with self._kube._http.stream("GET", _SLICES, params=params, timeout=None) as response:
            for line in response.iter_lines():
                event = msgspec.json.decode(line, type=_Event)
                self._slices[event.object.metadata.name] = {
                    entry.model: tuple(slot for target in entry.targets for slot in target.slots)
                    for entry in event.object.entries
                    if event.type != "DELETED" and entry.targets
                }
                self.writes += 1


# What is measured


def prepare(stored: Path, count: int, slots: int) -> None:
    """A pool whose slots are ready, and models that no operator has seen."""
    with ControlPlane(fake_nodes=1) as plane, Installation(plane, slots) as installation:
        with installation.operator():
            _wait_slots(installation)
        began = time.monotonic()
        asyncio.run(create_models(plane, [f"m{number:06}" for number in range(count)]))
        print(f"{count} TenantModels created in {_seconds(began)} s", flush=True)
        plane.keep(stored)


def _wait_slots(installation: Installation) -> None:
    ready = f"{OWN}/predictorpools/default"
    wait_for(
        lambda: _found(installation, ready).get("status", {}).get("readyReplicas") == installation.slots,
        300,
        "all slots are ready",
    )


def measure(installation: Installation, count: int, patience: float) -> Iterator[Figure]:
    """All figures, in the order in which they are found."""
    watch = SliceWatch(installation.kube)
    _wait_idle(installation.plane)
    before = installation.requests()
    began = time.monotonic()
    with installation.operator() as operator:
        yield from first_placement(installation, watch, count, began)
        yield from costs(installation, operator, "all routed")
        yield from changes(installation, "afterwards")
        since, told = time.monotonic(), installation.requests()[_STATUSES]
        if installation.wait_statuses(patience):
            yield "all statuses written, s after the start", _seconds(began)
        told = installation.requests()[_STATUSES] - told
        yield "statuses written a second", round(told / (time.monotonic() - since))
        yield from costs(installation, operator, "statuses written")
        used = cpu_seconds(operator)
        time.sleep(QUIET)
        yield "operator at rest, % of a core", round(100 * (cpu_seconds(operator) - used) / QUIET, 1)
        for what, number in sorted((installation.requests() - before).items()):
            yield f"requests: {what}", number
    yield from restart(installation, watch)


def _wait_idle(plane: ControlPlane) -> None:
    """Until the API server has read what is stored, and the controllers have."""
    idle = 0
    while idle < 3:
        used = cpu_seconds(plane.api_server.pid) + cpu_seconds(plane.etcd.pid)
        time.sleep(1)
        now = cpu_seconds(plane.api_server.pid) + cpu_seconds(plane.etcd.pid)
        idle = idle + 1 if now - used < IDLE else 0


def first_placement(
    installation: Installation, watch: SliceWatch, count: int, began: float
) -> Iterator[Figure]:
    """From the operator's start until everything is routed, with single changes meanwhile."""
    done = threading.Event()
    meanwhile = Meanwhile(installation, watch)
    changing = threading.Thread(target=meanwhile.run, args=(done,))
    changing.start()
    placed = routed = 0.0
    try:
        while not placed or not routed:
            assert time.monotonic() < began + PATIENCE, (watch.routed(), installation.routed())
            if not placed and watch.routed() >= count:
                placed = _seconds(began)
            if not routed and installation.routed() >= count:
                routed = _seconds(began)
            time.sleep(LOOK)
    finally:
        done.set()
        changing.join()
    yield "first slice written, s after the operator's start", round(meanwhile.first - began, 1)
    yield "all in slices, s", placed
    yield "all in the router's table, s", routed
    for when, seconds in (("the operator starts", meanwhile.early), ("all are placed", meanwhile.seconds)):
        if seconds:
            number = len(seconds)
            yield f"one change while {when}, s (median of {number})", round(statistics.median(seconds), 2)
            yield f"one change while {when}, s (longest)", round(max(seconds), 2)


class Meanwhile:
    """One model more every now and then, whether or not the one before it has taken effect."""

    def __init__(self, installation: Installation, watch: SliceWatch) -> None:
        self._installation = installation
        self._watch = watch
        self.first = 0.0
        """When the first slice was there."""
        self.early: list[float] = []
        """Seconds from each change to its effect, of those that were made before that."""
        self.seconds: list[float] = []
        """The same of those that were made after it."""

    def run(self, done: threading.Event) -> None:
        waiting: dict[str, float] = {}
        made = 0
        while waiting or not done.is_set():
            began = time.monotonic()
            if not self.first and self._watch.routed():
                self.first = began
            if not done.is_set():
                name = f"meanwhile-{made}"
                made += 1
                self._installation.kube.create(_MODELS, model(name))
                waiting[name] = began
            while time.monotonic() < began + EVERY:
                # The longest that is looked for, and those of the last seconds: looking is work too.
                for name in [*waiting][:1] + [*waiting][1:][-LOOKED_FOR:]:
                    if self._installation.knows(name):
                        self._note(waiting.pop(name))
                time.sleep(0.05)

    def _note(self, began: float) -> None:
        early = not self.first or began < self.first
        (self.early if early else self.seconds).append(time.monotonic() - began)


def changes(installation: Installation, when: str) -> Iterator[Figure]:
    """One model more, and one less, from the request to what the router says."""
    applied = [_one_change(installation, f"{when}-{number}") for number in range(TRIES)]
    deleted = []
    for number in range(TRIES):
        name, began = f"{when}-{number}", time.monotonic()
        installation.kube.delete(f"{_MODELS}/{name}")
        wait_for(functools.partial(installation.misses, name), PATIENCE, "a deleted model is gone")
        deleted.append(time.monotonic() - began)
    yield f"one change {when}, s (median of {TRIES})", round(statistics.median(applied), 2)
    yield f"one change {when}, s (longest)", round(max(applied), 2)
    yield f"one deletion {when}, s (median of {TRIES})", round(statistics.median(deleted), 2)
    yield f"one deletion {when}, s (longest)", round(max(deleted), 2)


def _one_change(installation: Installation, name: str) -> float:
    began = time.monotonic()
    installation.kube.create(_MODELS, model(name))
    wait_for(lambda: installation.knows(name), PATIENCE, f"the router knows {name}")
    return time.monotonic() - began


def costs(installation: Installation, operator: int, when: str) -> Iterator[Figure]:
    """Memory and processor time of each process."""
    feeder = int(
        subprocess.run(["pgrep", "-P", str(installation.router)], capture_output=True).stdout.split()[0]
    )
    for name, pid in (("operator", operator), ("router", installation.router), ("feeder", feeder)):
        now, most = _memory(pid)
        yield f"{name}, MB now / at most ({when})", f"{now} / {most}"
        yield f"{name}, CPU s ({when})", round(cpu_seconds(pid), 1)


def restart(installation: Installation, watch: SliceWatch) -> Iterator[Figure]:
    """Another operator finds everything as it should be; then a slot is lost."""
    writes, before = watch.writes, installation.requests()
    began = time.monotonic()
    with installation.operator() as operator:
        wait_for(lambda: _plans(installation) >= 1, PATIENCE, "the first plan after a restart")
        yield "restart: first plan made, s", _seconds(began)
        time.sleep(QUIET)
        yield "restart: slices written", watch.writes - writes
        asked = installation.requests() - before
        yield "restart: statuses written", asked[_STATUSES]
        yield "restart: operator, CPU s", round(cpu_seconds(operator), 1)
        yield from lost_slot(installation, watch)


def _plans(installation: Installation) -> float:
    return installation.metrics(installation.operator_port).get("tenantry_operator_plan_seconds_count", 0)


def lost_slot(installation: Installation, watch: SliceWatch) -> Iterator[Figure]:
    """A pod is gone and finds no node: after the grace its share moves, and nothing else."""
    lost = "default-7"
    before = watch.placement()
    share = {model for model, slots in before.items() if lost in slots}
    installation.plane.kubectl("cordon", "node-0")
    began = time.monotonic()
    installation.plane.kubectl(
        "delete", "pod", "-n", NAMESPACE, "-l", f"tenantry.dev/slot={lost}", "--force", "--grace-period=0"
    )
    wait_for(
        lambda: not any(lost in slots for slots in watch.placement().values()), 300, "the share has moved"
    )
    seconds = _seconds(began)
    after = watch.placement()
    moved = {model for model, slots in after.items() if slots != before.get(model)}
    installation.plane.kubectl("uncordon", "node-0")
    yield "slot lost: its share, models", len(share)
    yield "slot lost: models moved", len(moved)
    yield "slot lost: moved that were not its own", len(moved - share)
    yield "slot lost: s until all are routed elsewhere (30 of grace)", seconds


def _found(installation: Installation, path: str) -> dict[str, Any]:
    try:
        return installation.kube.get(path)
    except ApiError:
        return {}


def _memory(pid: int) -> tuple[int, int]:
    """Resident megabytes, now and at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(re.search(rf"{field}:\s+(\d+)", status)[1]) // 1024 for field in ("VmRSS", "VmHWM"))  # type: ignore[index]
    return now, most


def _seconds(began: float) -> float:
    return round(time.monotonic() - began, 1)


if __name__ == "__main__":
    main()
