"""A model for each user: one entry, a hundred thousand artifacts, traffic as real users make it.

    PYTHONPATH=tests python benchmarks/per_user.py [--users 100000] [--seconds 30] [--out per_user.json]
    PYTHONPATH=tests python benchmarks/per_user.py --s3 --users 5000    # after python tests/cluster/build.py

A router over slots that may keep a few users in a hundred in memory, and artifacts in files or on a real S3
server. Users ask as often as Zipf's law says (the nth most frequent 1/n^alpha times as often as the first).
Every answer is checked: each user's model answers with a number of its own. First everything is cold, then it
is measured. Then artifacts are overwritten under the same traffic, and the time until each changes its answer
is told.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from artifacts.graphs import linear
from load.generator import measure
from load.result import Result
from load.target import Target as Address
from load.target import post
from processes import free_port, running
from tenantry_core.slices import Entry, Reference, SliceContent, Target
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder

_MARK = 12345678.0
_TEMPLATE = linear((0.0, 0.0), _MARK)
_CONNECTIONS = 16
_OVERWRITTEN = 50
_UNKNOWN = 200

Users = np.ndarray[Any, np.dtype[np.int64]]
Put = Callable[[int, bytes], object]
"""Stores the artifact of a user."""


@dataclass
class Stage:
    """What is measured."""

    router: int
    """Its port."""
    slots: list[int]
    pids: dict[str, int]
    put: Put
    figures: dict[str, float] = field(default_factory=dict)

    def tell(self, name: str, value: float, unit: str = "") -> None:
        self.figures[name] = round(value, 3)
        print(f"{name:52}{value:12,.2f} {unit}".rstrip(), flush=True)


def main() -> None:
    """Store, start, measure, print."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="tenantry-per-user-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        uri, put = stack.enter_context(_s3() if arguments.s3 else _files(folder / "users"))
        begun = time.perf_counter()
        with ThreadPoolExecutor(16 if arguments.s3 else 1) as threads:
            list(threads.map(lambda user: put(user, artifact(user)), range(arguments.users)))
        stage = stack.enter_context(_stage(folder, uri, put, arguments))
        stage.tell("artifacts", arguments.users)
        stage.tell("stored in", time.perf_counter() - begun, "s")
        _measure(stage, arguments)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(stage.figures, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=100_000, help="with an artifact (default: %(default)s)")
    parser.add_argument("--slots", type=int, default=2, help="predictors (default: %(default)s)")
    parser.add_argument("--memory", type=int, default=512, help="MiB of models a slot (default: %(default)s)")
    parser.add_argument("--alpha", type=float, default=1.0, help="of Zipf's law (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of traffic (default: %(default)s)")
    parser.add_argument("--refresh", type=int, default=10, help="interval in seconds (default: %(default)s)")
    parser.add_argument("--s3", action="store_true", help="objects of an S3 server instead of files")
    parser.add_argument("--out", type=Path, help="write the figures to this file, as JSON")
    return parser.parse_args()


def artifact(answer: float) -> bytes:
    """A model that answers with `answer`: the same file but for four bytes."""
    return _TEMPLATE.replace(struct.pack("<f", _MARK), struct.pack("<f", answer))


@contextlib.contextmanager
def _files(folder: Path) -> Iterator[tuple[str, Put]]:
    folder.mkdir()

    def put(user: int, data: bytes) -> None:
        path = folder / f"u{user}.onnx"
        beside = path.with_suffix(".new")
        beside.write_bytes(data)
        os.replace(beside, path)

    yield f"file://{folder}/{{user_id}}.onnx", put


@contextlib.contextmanager
def _s3() -> Iterator[tuple[str, Put]]:
    import boto3

    from cluster.s3server import S3Server

    with S3Server() as server:
        os.environ |= {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        os.environ["AWS_ENDPOINT_URL_S3"] = server.endpoint_url
        client = boto3.client("s3", **server.client_arguments)
        client.create_bucket(Bucket="models")
        yield (
            "s3://models/users/{user_id}.onnx",
            lambda user, data: client.put_object(Bucket="models", Key=f"users/u{user}.onnx", Body=data),
        )


@contextlib.contextmanager
def _stage(folder: Path, uri: str, put: Put, arguments: argparse.Namespace) -> Iterator[Stage]:
    names = [f"default-{number}" for number in range(arguments.slots)]
    ports = {name: free_port() for name in names}
    snapshot = SnapshotFolder(folder / "snapshot")
    target = Target(Reference(uri, "onnx"), tuple(names))
    created = "2026-01-01T00:00:00Z"
    entry = Entry("models.shop", "1", created, 1, "shop", "default", targets=(target,))
    snapshot.write_slice("placement-0-0", SliceContent((entry,)))
    slots = tuple(SlotAddress(name, "default", "127.0.0.1", {"http": port}) for name, port in ports.items())
    snapshot.write_addresses(AddressBook(slots))
    with contextlib.ExitStack() as stack:
        pids = {}
        for name, port in ports.items():
            command = [
                *(sys.executable, "-m", "tenantry_predictor", "--slot", name, "--port", str(port)),
                *("--cache-dir", str(folder / name), "--cache-memory", str(arguments.memory << 20)),
                *("--prefix", uri.partition("{")[0], "--refresh", str(arguments.refresh)),
                *("--ready-after", "0", "--log-level", "warning"),
                *(["--s3-region", "us-east-1"] if arguments.s3 else []),
                *(["--s3-endpoint", os.environ["AWS_ENDPOINT_URL_S3"]] if arguments.s3 else []),
            ]
            pids[name] = stack.enter_context(running(command, port)).pid
        port = free_port()
        command = [sys.executable, "-m", "tenantry_router", "--snapshot", str(snapshot.path)]
        command += ["--port", str(port), "--log-level", "warning"]
        pids["router"] = stack.enter_context(running(command, port)).pid
        yield Stage(port, list(ports.values()), pids, put)


def _measure(stage: Stage, arguments: argparse.Namespace) -> None:
    _tell_memory(stage, "before")
    asked = zipf(arguments.users, arguments.alpha)
    _traffic(stage, "cold", asked, arguments.seconds)
    _traffic(stage, "measured", asked[::-1], arguments.seconds)
    _tell_loads(stage)
    _tell_memory(stage, "after")
    _tell_reports(stage)
    _tell_unknown(stage)
    _tell_changes(stage, asked, arguments.refresh)


def zipf(users: int, alpha: float, count: int = 1_000_000) -> Users:
    """`count` users in the order in which they ask; the same in each run."""
    weights = np.cumsum(1.0 / np.arange(1, users + 1) ** alpha)
    users_asked: Users = np.searchsorted(weights, np.random.default_rng(7).random(count) * weights[-1])
    return users_asked


def _ask(stage: Stage, asked: Users, seconds: float, changed: int = 0) -> Result:
    """All connections at once; the first `changed` users may give a new answer or the old one."""

    def check(number: int, status: int, body: bytes) -> bool:
        user = int(asked[number % len(asked)])
        return status == 200 and (user < changed or body == b"[%d.0]" % user)

    return measure(
        Address.parse(f"http://127.0.0.1:{stage.router}"),
        lambda number: post(f"/predict/shop:u{asked[number % len(asked)]}", b"[[1, 1]]"),
        connections=_CONNECTIONS,
        count=10**9,
        seconds=seconds,
        check=check,
    )


def _traffic(stage: Stage, name: str, asked: Users, seconds: float) -> None:
    before = _counters(stage)
    result = _ask(stage, asked, seconds)
    after = _counters(stage)
    origins = {
        key: after[f"tenantry_predictor_cache_{key}_total"] - before[f"tenantry_predictor_cache_{key}_total"]
        for key in ("hits", "disk_hits", "misses")
    }
    total = sum(origins.values())
    stage.tell(f"{name}: requests/s", result.throughput)
    stage.tell(f"{name}: p50", result.p50 * 1e3, "ms")
    stage.tell(f"{name}: p99", result.p99 * 1e3, "ms")
    stage.tell(f"{name}: in memory", 100 * origins["hits"] / total, "%")
    stage.tell(f"{name}: on disk", 100 * origins["disk_hits"] / total, "%")
    stage.tell(f"{name}: fetched", 100 * origins["misses"] / total, "%")
    stage.tell(f"{name}: users who asked", len(np.unique(asked[: result.answered])))
    stage.tell(f"{name}: errors", result.errors)


def _tell_loads(stage: Stage) -> None:
    counters = _counters(stage)
    for origin in ("miss", "disk"):
        count = counters.get(f'tenantry_predictor_load_seconds_count{{origin="{origin}"}}', 0.0)
        seconds = counters.get(f'tenantry_predictor_load_seconds_sum{{origin="{origin}"}}', 0.0)
        if count:
            where = "store" if origin == "miss" else "disk"
            stage.tell(f"load from the {where}: mean", 1e3 * seconds / count, "ms")
    stage.tell("models in memory", counters["tenantry_predictor_models"])
    stage.tell("measured bytes in memory", counters["tenantry_predictor_model_bytes"] / 2**20, "MiB")
    stage.tell("evictions", counters["tenantry_predictor_evictions_total"])


def _tell_memory(stage: Stage, when: str) -> None:
    for name, pid in stage.pids.items():
        status = Path(f"/proc/{pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        stage.tell(f"resident, {name}, {when}", int(found[1]) / 1024, "MiB")


def _tell_reports(stage: Stage) -> None:
    answers = [httpx.get(f"http://127.0.0.1:{port}/v2/slot") for port in stage.slots]
    stage.tell("models in the largest slot report", max(len(answer.json()["models"]) for answer in answers))
    stage.tell("bytes of the largest /metrics", max(len(text) for text in _scrapes(stage)))


def _tell_unknown(stage: Stage) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{stage.router}", timeout=30) as client:
        answers = [client.post(f"/predict/shop:x{n}", json=[[1, 1]]) for n in range(_UNKNOWN)]
    right = sum((a.status_code, a.json()["reason"]) == (404, "UnknownUser") for a in answers)
    stage.tell("unknown users told so, of 200", right)


def _tell_changes(stage: Stage, asked: Users, refresh: int) -> None:
    """Overwrite the artifacts of the most frequent users while everybody asks."""
    results: list[Result] = []
    traffic = threading.Thread(
        target=lambda: results.append(_ask(stage, asked, refresh + 5, changed=_OVERWRITTEN))
    )
    traffic.start()
    time.sleep(1)
    waiting = {}
    for user in range(_OVERWRITTEN):
        stage.put(user, artifact(user + 500_000))
        waiting[user] = time.perf_counter()
    took = []
    with httpx.Client(base_url=f"http://127.0.0.1:{stage.router}", timeout=30) as client:
        while waiting and traffic.is_alive():
            for user, since in list(waiting.items()):
                if client.post(f"/predict/shop:u{user}", json=[[1, 1]]).json() == [user + 500_000.0]:
                    took.append(time.perf_counter() - since)
                    del waiting[user]
    traffic.join()
    stage.tell("changed artifacts picked up, of 50", len(took))
    stage.tell("picked up after: longest", max(took), f"s (interval {refresh} s)")
    stage.tell("meanwhile: errors", results[0].errors)


def _scrapes(stage: Stage) -> list[str]:
    return [httpx.get(f"http://127.0.0.1:{port}/metrics").text for port in stage.slots]


def _counters(stage: Stage) -> dict[str, float]:
    """Series of all slots, added up."""
    total: dict[str, float] = {}
    for text in _scrapes(stage):
        for line in text.splitlines():
            if not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                total[series] = total.get(series, 0.0) + float(value)
    return total


if __name__ == "__main__":
    main()
