"""The two policies of a predictor's memory under the same traffic, over HTTP, with real loads.

    PYTHONPATH=tests python benchmarks/eviction_live.py [--out eviction_live.json]

One predictor evicts by LRU, the other by LFU; both may keep a tenth of 500 models (gradient boosting of 100
trees, in files). Requests follow Zipf's law with alpha 1, 8 connections. After a warm-up the two take turns
in rounds, on the same requests. Every answer is compared with the estimator's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
from prometheus_client.parser import text_string_to_metric_families

from load.generator import measure
from load.target import Target, post_json
from models import Model, derive, records
from processes import cpu_seconds, free_port, running
from traces import Ids, zipf

_ROUNDS = 3
_CONNECTIONS = 8
_POLICIES = ("LRU", "LFU")


@dataclass(frozen=True)
class Slot:
    """A predictor."""

    port: int
    pid: int

    def counters(self) -> dict[str, float]:
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).text
        return {
            sample.name.removeprefix("tenantry_predictor_"): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if "le" not in sample.labels and "tenant" not in sample.labels
        }


@dataclass(frozen=True)
class Round:
    """What the requests of one round met."""

    hits: float
    """Percent."""
    p50: float
    """Milliseconds."""
    p99: float
    requests_per_second: float
    cpu: float
    """Milliseconds of the predictor a request."""
    models: float
    """In memory, at its end."""


class Bench:
    """The models, how they are asked, and what they have to answer."""

    def __init__(self, folder: Path, models: list[Model]) -> None:
        [row] = records(1)
        self._requests, self._answers = [], []
        for model in models:
            path = folder / f"{model.name}.onnx"
            path.write_bytes(model.onnx)
            fields = {
                "Tenantry-Model": f"models.{model.name}",
                "Tenantry-Tenant": model.name,
                "Tenantry-Version": model.sha256,
                "Tenantry-Artifact": f"file://{path}",
                "Tenantry-Format": "onnx",
            }
            self._requests.append(post_json("/predict", [row], fields))
            self._answers.append(float(model.estimator.predict(pd.DataFrame([row]))[0]))

    def replay(self, slot: Slot, asked: Ids) -> Round:
        """Raises SystemExit when an answer is wrong."""

        def check(number: int, status: int, body: bytes) -> bool:
            answer = self._answers[asked[number]]
            return status == 200 and bool(np.isclose(json.loads(body)[0], answer, rtol=1e-4))

        before, cpu = slot.counters(), cpu_seconds(slot.pid)
        result = measure(
            Target("127.0.0.1", slot.port),
            lambda number: self._requests[asked[number]],
            connections=_CONNECTIONS,
            count=len(asked),
            seconds=120,
            check=check,
        )
        if result.errors:
            sys.exit(f"Not all answers were right: {result.summary()}")
        after = slot.counters()
        return Round(
            hits=100 * (after["cache_hits_total"] - before["cache_hits_total"]) / result.answered,
            p50=1000 * result.p50,
            p99=1000 * result.p99,
            requests_per_second=result.throughput,
            cpu=1000 * (cpu_seconds(slot.pid) - cpu) / result.answered,
            models=after["models"],
        )


def main() -> None:
    """Derive models, start both, warm up, take turns, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--memory", type=int, default=5, help="MiB of models (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=5000, help="of a round (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the figures to this file, as JSON")
    arguments = parser.parse_args()
    random = np.random.default_rng(7)
    places = random.permutation(arguments.models)
    with tempfile.TemporaryDirectory(prefix="tenantry-eviction-") as name, contextlib.ExitStack() as stack:
        bench = Bench(Path(name), list(derive("boosting", arguments.models)))
        slots = {
            policy: stack.enter_context(_slot(Path(name), policy, arguments.memory)) for policy in _POLICIES
        }
        rounds: dict[str, list[Round]] = {policy: [] for policy in slots}
        for turn in range(2 + _ROUNDS):
            asked = places[zipf(random, 1.0, arguments.requests, arguments.models)]
            for policy, slot in slots.items():
                result = bench.replay(slot, asked)
                if turn >= 2:
                    rounds[policy].append(result)
    medians = {policy: _median(results) for policy, results in rounds.items()}
    _print(medians)
    if arguments.out is not None:
        document = {
            "summary": _summary(medians["LFU"]),
            "policies": {policy: asdict(one) for policy, one in medians.items()},
        }
        arguments.out.write_text(json.dumps(document, indent=2) + "\n")


@contextlib.contextmanager
def _slot(folder: Path, policy: str, memory: int) -> Iterator[Slot]:
    port = free_port()
    command = [
        *(sys.executable, "-m", "tenantry_predictor", "--slot", policy, "--port", str(port)),
        *("--cache-dir", str(folder / policy), "--cache-memory", str(memory << 20)),
        *("--prefix", f"file://{folder}/", "--eviction", policy),
        *("--ready-after", "0", "--log-level", "warning"),
    ]
    with running(command, port) as process:
        yield Slot(port, process.pid)


def _median(rounds: list[Round]) -> Round:
    columns = zip(*(asdict(one).values() for one in rounds), strict=True)
    return Round(*(statistics.median(column) for column in columns))


def _summary(ours: Round) -> list[dict[str, object]]:
    rows = {"p50": ours.p50, "p99": ours.p99}
    return [
        {"what": f"a tenth of the models fits, {name} with cold loads in", "value": value, "unit": "ms"}
        for name, value in rows.items()
    ]


def _print(medians: dict[str, Round]) -> None:
    print(f"{'':22}" + "".join(f"{policy:>10}" for policy in medians) + f"{'ratio':>10}")
    for name in Round.__dataclass_fields__:
        values = [getattr(one, name) for one in medians.values()]
        print(f"{name:22}" + "".join(f"{v:10.2f}" for v in values) + f"{values[1] / values[0]:9.2f}x")


if __name__ == "__main__":
    main()
