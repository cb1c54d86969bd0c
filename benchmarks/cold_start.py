"""Cold start: the first answer for a model, beside a bare GET, deserialise and predict.

    python tests/cluster/build.py
    PYTHONPATH=tests python benchmarks/cold_start.py [--tenants 60] [--out cold_start.json]

Every tenant has a model, and asks for it once: through the router and a slot that read it from a folder or
from a real S3 server, and then, in a new process of the slot, from what the last one left on its disk. Right
after each of these answers a plain process of Python does the same for the same model, twice: with ONNX
Runtime of the file that Tenantry reads, and of the pickled estimator. One at a time, so that nothing waits;
each process has opened a model of each kind before. Every answer is compared with the estimator's.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd

from cluster.s3server import S3Server
from contenders import tenantry_over
from models import COLUMNS, KINDS, Model, derive, records

BARE = ("onnx", "pickle")
STORES = ("folder", "s3")
TARGETS = {
    "disk": {"what": "cold start from local disk, linear model", "unit": "ms", "target": 5},
    "s3": {"what": "cold start from S3 vs bare GET + deserialise", "unit": "x", "target": 1.2},
}
_PEER = Path(__file__).parent / "peers" / "bare.py"
_HEAD = (
    f"{'ms, p50 / p99':30}{'kB':>8}{'tenantry':>18}{'of it load':>12}{'bare ONNX':>18}{'ratio':>8}"
    f"{'bare pickle':>18}{'ratio':>8}"
)
_ROW = records(1)


@dataclass(frozen=True)
class Figures:
    """Milliseconds of one kind of model from one place."""

    kind: str
    place: str
    file_bytes: int
    tenantry: float
    tenantry_p99: float
    load: float
    """Of it, until the slot had the model."""
    onnx: float
    onnx_p99: float
    pickle: float
    pickle_p99: float


def main() -> None:
    """Train, store, start, measure, print."""
    arguments = _arguments()
    models = [model for kind in KINDS for model in derive(kind, arguments.tenants + 1)]
    with tempfile.TemporaryDirectory(prefix="tenantry-cold-") as name, S3Server() as server:
        _use(server)
        put = {"folder": _folder(Path(name) / "models"), "s3": _bucket(server)}
        for model in models:
            for store in STORES:
                put[store](f"{model.name}.onnx", model.onnx)
                put[store](f"{model.name}.pickle", pickle.dumps(model.estimator))
        with _bare() as bare:
            print(_HEAD)
            figures = []
            for store in STORES:
                for line in _measure(Path(name) / store, put[store].uri, models, bare):
                    figures.append(line)
                    print(_row(line), flush=True)
    if arguments.out is not None:
        document = {"summary": _summary(figures), "figures": [asdict(line) for line in figures]}
        arguments.out.write_text(json.dumps(document, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tenants", type=int, default=60, help="of each kind (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    return parser.parse_args()


@dataclass(frozen=True)
class Store:
    """Where artifacts are put, and how they are called there."""

    uri: str
    put: Callable[[str, bytes], object]

    def __call__(self, name: str, content: bytes) -> None:
        self.put(name, content)


def _use(server: S3Server) -> None:
    """For all processes that are started from here on."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_ENDPOINT_URL_S3": server.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def _folder(path: Path) -> Store:
    path.mkdir()
    return Store(f"file://{path}/", lambda name, content: (path / name).write_bytes(content))


def _bucket(server: S3Server) -> Store:
    client = boto3.client("s3", **server.client_arguments)
    client.create_bucket(Bucket="models")
    return Store(
        "s3://models/", lambda name, content: client.put_object(Bucket="models", Key=name, Body=content)
    )


def _measure(folder: Path, uri: str, models: list[Model], bare: Bare) -> Iterator[Figures]:
    """All models from the store, and from the disk after a restart."""
    folder.mkdir()
    slot = ["--cache-disk", str(8 << 30)]
    slot += ["--s3-endpoint", os.environ["AWS_ENDPOINT_URL_S3"], "--s3-region", "us-east-1"]
    scheme = uri.partition(":")[0]
    for place in (scheme, f"disk after {scheme}"):
        with (
            tenantry_over(uri, folder, models, slot=slot) as contender,
            socket.create_connection(("127.0.0.1", contender.port), timeout=60) as connection,
        ):
            for kind in KINDS:
                yield _kind(kind, place, connection, uri, models, bare)


def _kind(
    kind: str,
    place: str,
    connection: socket.socket,
    uri: str,
    models: list[Model],
    bare: Bare,
) -> Figures:
    expected = "disk" if place.startswith("disk") else "miss"
    taken: dict[str, list[float]] = {name: [] for name in ("tenantry", "load", *BARE)}
    of_kind = [model for model in models if model.name.startswith(f"{kind}-")]
    for model in of_kind:
        seconds, load, answer = _ask(connection, model, expected)
        taken["tenantry"].append(seconds)
        taken["load"].append(load)
        _check(model, answer)
        for form in BARE:
            seconds, answer = bare.ask(f"{uri}{model.name}.{form}".removeprefix("file://"), form)
            taken[form].append(seconds)
            _check(model, answer)
    p50 = {name: float(np.median(values[1:])) * 1000 for name, values in taken.items()}
    p99 = {name: float(np.quantile(values[1:], 0.99)) * 1000 for name, values in taken.items()}
    return Figures(
        kind,
        place,
        int(np.median([len(model.onnx) for model in of_kind])),
        *(p50["tenantry"], p99["tenantry"], p50["load"]),
        *(p50["onnx"], p99["onnx"], p50["pickle"], p99["pickle"]),
    )


def _ask(connection: socket.socket, model: Model, expected: str) -> tuple[float, float, float]:
    """Seconds from request to answer, without what a client makes of it; of the load as the slot tells;
    the prediction.
    """
    body = json.dumps(_ROW).encode()
    head = f"POST /predict/{model.name} HTTP/1.1\r\nHost: router\r\nContent-Length: {len(body)}\r\n\r\n"
    begun = time.perf_counter()
    connection.sendall(head.encode() + body)
    connection.recv(1, socket.MSG_PEEK)
    seconds = time.perf_counter() - begun
    answer = http.client.HTTPResponse(connection, method="POST")
    answer.begin()
    body = answer.read()
    route = answer.headers["Tenantry-Route"] or ""
    if answer.status != 200 or f"cache={expected}" not in route:
        sys.exit(f"{model.name}: {answer.status}, {route}, expected {expected}: {body[:500]!r}")
    load = float(answer.headers["Server-Timing"].partition("load;dur=")[2].partition(",")[0])
    return seconds, load / 1000, float(json.loads(body)[0])


def _check(model: Model, answer: float) -> None:
    [expected] = model.estimator.predict(pd.DataFrame(_ROW))
    if not np.isclose(answer, expected, rtol=1e-4, atol=1e-5):
        sys.exit(f"{model.name} answers {answer}, expected {expected}")


class Bare:
    """The plain process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def ask(self, where: str, form: str) -> tuple[float, float]:
        """Seconds and the prediction."""
        row = [_ROW[0][name] for name in COLUMNS]
        print(json.dumps({"where": where, "as": form, "row": row}), file=self._in, flush=True)
        seconds, answer = json.loads(self._out.readline())
        return seconds, answer


@contextlib.contextmanager
def _bare() -> Iterator[Bare]:
    command = [sys.executable, "-W", "ignore", str(_PEER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Bare(process)
        assert process.stdin is not None
        process.stdin.close()


def _row(one: Figures) -> str:
    return (
        f"{one.kind + ', ' + one.place:30}{one.file_bytes / 1000:8.1f}"
        f"{one.tenantry:10.2f} /{one.tenantry_p99:6.1f}{one.load:12.2f}"
        f"{one.onnx:10.2f} /{one.onnx_p99:6.1f}{one.tenantry / one.onnx:8.2f}"
        f"{one.pickle:10.2f} /{one.pickle_p99:6.1f}{one.tenantry / one.pickle:8.2f}"
    )


def _summary(figures: list[Figures]) -> list[dict[str, Any]]:
    """Of the linear model: from disk in milliseconds, from S3 beside the same file opened barely."""
    by_place = {line.place: line for line in figures if line.kind == "linear"}
    disk, s3 = by_place["disk after file"], by_place["s3"]
    values = {"disk": disk.tenantry, "s3": s3.tenantry / s3.onnx}
    return [{**TARGETS[name], "value": round(value, 2), "better": "less"} for name, value in values.items()]


if __name__ == "__main__":
    main()
