"""Warm predictions end to end: Tenantry's router and one slot beside the Flask server that teams begin with.

    python benchmarks/warm.py [--seconds 5] [--rounds 3] [--connections 16] [--models 64] [--out warm.json]

Every tenant has a model of its own (scaler and linear regression over four columns). Rounds alternate between
the contenders, on all cores, with the client on the same machine. Every contender's answers are compared with
the estimators before anything is timed. Needs wrk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pickle
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from processes import free_port, require, running
from tenantry import publish
from tenantry_core.slices import Entry, Reference, SliceContent, Target
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder
from wrk import Round, Server, measure, median, table, write_script

COLUMNS = ["amount", "hour", "weekday", "returning"]
RECORD = {"amount": 12.5, "hour": 7.0, "weekday": 3.0, "returning": 1.0}


def main() -> None:
    """Train, start, check, measure, print."""
    arguments = _arguments()
    require("wrk")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        models = train(arguments.models)
        contenders = [
            stack.enter_context(tenantry(folder, models)),
            stack.enter_context(flask(folder, models)),
        ]
        for contender in contenders:
            check(contender, models)
        script = folder / "wrk.lua"
        write_script(script, prefix="/predict/tenant-", paths=len(models), body=json.dumps([RECORD]))
        rounds: dict[str, list[Round]] = {contender.name: [] for contender in contenders}
        for _ in range(arguments.rounds):
            for contender in contenders:
                measured = measure(
                    contender, script, seconds=arguments.seconds, connections=arguments.connections
                )
                rounds[contender.name].append(measured)
    report(rounds, arguments.connections, arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5, help="of each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="per contender (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="of the client (default: %(default)s)")
    parser.add_argument("--models", type=int, default=64, help="tenants (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    return parser.parse_args()


def train(count: int) -> list[Pipeline]:
    """A fitted pipeline for each tenant, each with coefficients of its own."""
    generator = np.random.default_rng(7)
    models = []
    for _ in range(count):
        rows = pd.DataFrame(generator.random((200, len(COLUMNS))), columns=COLUMNS)
        target = rows.to_numpy() @ generator.normal(size=len(COLUMNS))
        models.append(make_pipeline(StandardScaler(), LinearRegression()).fit(rows, target))
    return models


@contextlib.contextmanager
def tenantry(folder: Path, models: list[Pipeline], *options: str) -> Iterator[Server]:
    """One slot and a router, with these options, over a hand-written snapshot."""
    router_port, slot_port = free_port(), free_port()
    entries = tuple(_entry(folder, number, model) for number, model in enumerate(models))
    snapshot = SnapshotFolder(folder / "snapshot")
    snapshot.write_slice("placement-0-0", SliceContent(entries))
    address = SlotAddress("default-0", "default", "127.0.0.1", {"http": slot_port})
    snapshot.write_addresses(AddressBook((address,)))
    slot = [
        *(sys.executable, "-m", "tenantry_predictor", "--slot", "default-0", "--ready-after", "0"),
        *("--port", str(slot_port), "--cache-dir", str(folder / "cache"), "--prefix", f"file://{folder}/"),
    ]
    router = [sys.executable, "-m", "tenantry_router", "--snapshot", str(snapshot.path)]
    with (
        running([*slot, "--log-level", "warning"], slot_port) as first,
        running(
            [*router, "--port", str(router_port), *options, "--log-level", "warning"], router_port
        ) as second,
    ):
        yield Server("tenantry", router_port, (first.pid, second.pid))


def _entry(folder: Path, number: int, model: Pipeline) -> Entry:
    name = f"tenant-{number}"
    published = publish(model, tenant=name, to=f"file://{folder}/published/")
    reference = Reference(published.uri, published.format, published.sha256)
    target = Target(reference, ("default-0",))
    created = "2026-01-01T00:00:00Z"
    return Entry(f"models.{name}", str(number), created, 1, name, "default", targets=(target,))


@contextlib.contextmanager
def flask(folder: Path, models: list[Pipeline]) -> Iterator[Server]:
    pickles = folder / "pickles"
    pickles.mkdir()
    for number, model in enumerate(models):
        (pickles / f"tenant-{number}.pkl").write_bytes(pickle.dumps(model))
    port = free_port()
    server = Path(__file__).parent / "peers" / "flask_server.py"
    with running([sys.executable, str(server), str(pickles), str(port)], port) as process:
        yield Server("flask", port, (process.pid,))


def check(contender: Server, models: list[Pipeline]) -> None:
    """Ask for every tenant once, which also makes every model warm."""
    frame = pd.DataFrame([RECORD])
    with httpx.Client(base_url=f"http://127.0.0.1:{contender.port}", timeout=30) as client:
        for number, model in enumerate(models):
            answer = client.post(f"/predict/tenant-{number}", json=[RECORD])
            expected = model.predict(frame)
            if answer.status_code != 200 or not np.allclose(answer.json(), expected, rtol=1e-4, atol=1e-5):
                sys.exit(f"{contender.name} answered {answer.text} for tenant-{number}, expected {expected}")


def report(rounds: dict[str, list[Round]], connections: int, out: Path | None) -> None:
    each = len(next(iter(rounds.values())))
    print(f"warm predictions, {connections} connections, medians of {each} rounds")
    print(table(rounds, beside="flask"))
    if out is not None:
        medians = {name: asdict(median(all_rounds)) for name, all_rounds in rounds.items()}
        out.write_text(json.dumps(medians, indent=2) + "\n")


if __name__ == "__main__":
    main()
