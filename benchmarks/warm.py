"""Warm predictions end to end: Tenantry's router and one slot beside the servers that teams use, in one run.

    python benchmarks/warm.py [--kinds linear forest] [--contenders tenantry mlserver] [--out warm.json]

64 tenants have a model of each kind: scaler and linear regression, gradient boosting of 100 trees, a
random forest of 100; then 5,000 have a linear model. Rounds alternate between the contenders, on all cores,
with the client on the same machine. All answers of all contenders are compared with the estimators before
anything is timed, and each answer that is timed has to be one of those. CPU time is that of all processes of
a contender. Needs wrk; the peers are installed from PyPI the first time, in environments of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contenders import CONTENDERS, Contender, Records, enter
from models import KINDS, Model, derive, records
from processes import require
from wrk import Round, Server, measure, median, table, write_checked_script

ROWS = (1, 32)
FEW, MANY = 64, 5000
LEFT_OUT = {"flask": "it keeps 1,000 models, and would open one for each request"}
"""Contenders that cannot keep MANY models, and why."""
TARGETS = {"linear": 10, "forest": 20}
"""Of requests/s beside MLServer's: 1 row, FEW models."""

Cell = dict[str, Any]


def main() -> None:
    """Train, start, check, measure, print."""
    arguments = _arguments()
    require("wrk")
    few = [model for kind in arguments.kinds for model in derive(kind, arguments.few)]
    grids = [_grid(few, arguments.kinds, arguments, {})]
    if arguments.many and "linear" in arguments.kinds:
        many = list(derive("linear", arguments.many))
        grids.append(_grid(many, ["linear"], arguments, LEFT_OUT))
    cells: list[Cell] = []
    for cell in itertools.chain.from_iterable(grids):
        cells.append(cell)
        if arguments.out is not None:  # at once: a peer that ends takes only what would have followed with it
            document = {"summary": _summary(cells), "connections": arguments.connections, "cells": cells}
            arguments.out.write_text(json.dumps(document, indent=2) + "\n")
    if any(cell["contenders"]["tenantry"]["errors"] for cell in cells if "tenantry" in cell["contenders"]):
        sys.exit("some of Tenantry's answers were wrong, or did not come")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--few", type=int, default=FEW, help="models of each kind (default: %(default)s)")
    parser.add_argument(
        "--many", type=int, default=MANY, help="linear models, 0: none (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=int, default=2, help="of each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="per contender (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="of the client (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    return parser.parse_args()


def _grid(
    models: Sequence[Model], kinds: Sequence[str], arguments: argparse.Namespace, without: dict[str, str]
) -> Iterator[Cell]:
    """Each kind by each number of rows, of contenders that run side by side."""
    left_out = {name: why for name, why in without.items() if name in arguments.contenders}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        contenders = []
        for name in arguments.contenders:
            if name not in left_out:
                contender = enter(stack, CONTENDERS[name], name, Path(folder), models)
                if isinstance(contender, str):
                    left_out[name] = contender
                else:
                    contenders.append(contender)
        for kind in kinds:
            of_kind = [model for model in models if model.name.startswith(f"{kind}-")]
            for rows in ROWS:
                rounds = _rounds(contenders, of_kind, rows, Path(folder), arguments)
                yield _cell(kind, len(of_kind), rows, rounds, left_out)


def _rounds(
    contenders: Sequence[Contender],
    models: Sequence[Model],
    rows: int,
    folder: Path,
    arguments: argparse.Namespace,
) -> dict[str, list[Round]]:
    asked = records(rows)
    frame = pd.DataFrame(asked)
    expected = {model.name: model.estimator.predict(frame) for model in models}
    scripts = {one.name: _checked(one, expected, asked, folder / f"{one.name}.lua") for one in contenders}
    rounds: dict[str, list[Round]] = {one.name: [] for one in contenders}
    for _ in range(arguments.rounds):
        for one in contenders:
            server = Server(one.name, one.port, one.pids)
            measured = measure(
                server, scripts[one.name], seconds=arguments.seconds, connections=arguments.connections
            )
            rounds[one.name].append(measured)
    return rounds


def _checked(contender: Contender, expected: Mapping[str, Any], asked: Records, script: Path) -> Path:
    """A script for wrk, once the contender answered for every model what its estimator does."""
    answers = []
    with contender.client() as client:
        for model, wanted in expected.items():
            answers.append(contender.ask(client, model, asked))
            if not np.allclose(json.loads(answers[-1]), wanted, rtol=1e-4, atol=1e-5):
                sys.exit(f"{contender.name} answered {answers[-1]} for {model}, expected {wanted}")
    targets = [contender.target(model) for model in expected]
    body = json.dumps(contender.encode(asked))
    write_checked_script(script, targets=targets, body=body, before=contender.before, answers=answers)
    return script


def _cell(
    kind: str, models: int, rows: int, rounds: dict[str, list[Round]], left_out: dict[str, str]
) -> Cell:
    print(f"\n{models:,} {kind} models, {rows} rows a request, medians of rounds")
    print(table(rounds, beside=next(iter(rounds))))
    for name, why in left_out.items():
        print(f"{name}: left out: {why}")
    medians = {name: asdict(median(each)) for name, each in rounds.items()}
    return {"kind": kind, "models": models, "rows": rows, "contenders": medians, "left_out": left_out}


def _summary(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    lines = []
    for cell in cells:
        figures = cell["contenders"]
        if cell["rows"] == 1 and cell["models"] < MANY and {"tenantry", "mlserver"} <= figures.keys():
            ratio = figures["tenantry"]["throughput"] / figures["mlserver"]["throughput"]
            line = {
                "what": f"warm {cell['kind']} model, router + slot, vs MLServer",
                "value": round(ratio, 1),
            }
            lines.append(line | {"unit": "x", "target": TARGETS.get(cell["kind"]), "better": "more"})
    return lines


if __name__ == "__main__":
    main()
