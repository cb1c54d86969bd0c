"""How many warm models a gigabyte holds: Tenantry's slot beside the servers that teams use.

    python benchmarks/memory.py [--kinds linear forest] [--contenders tenantry mlserver] [--out memory.json]

Each contender opens some models, then further ones, and every answer is compared with the estimator's. What
the anonymous memory of its processes grew by in between (its proportional share where shared), by model,
is what a warm model takes. Pages of program files do not count: the kernel drops those that are not used. Of
Tenantry it is the slot that is counted. A gigabyte is 10^9 bytes. The peers are installed from PyPI the first
time, in environments of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from contenders import CONTENDERS, Contender, Start, enter, mlserver
from models import KINDS, Model, derive, records
from processes import memory_bytes

FIRST = 20
"""Models that are opened before anything is counted."""
Counts = dict[str, tuple[int, ...]]

THEIRS: Counts = {"linear": (900,), "boosting": (200,), "forest": (60,)}
COUNTS: dict[str, Counts] = {
    "tenantry": {"linear": (2000, 10_000), "boosting": (500,), "forest": (150,)},
    # It reads all settings again for each model that it loads.
    "mlserver": THEIRS | {"linear": (150,), "boosting": (100,)},
}
"""Numbers of models at which memory is read; THEIRS for the others."""
STARTS: dict[str, Start] = CONTENDERS | {"mlserver": functools.partial(mlserver, at_startup=False)}
TARGET = 20_000
ASKED = records(1)


@dataclass(frozen=True)
class Figure:
    """Bytes a model, counted over so many models."""

    contender: str
    kind: str
    models: int
    bytes_per_model: float

    @property
    def per_gigabyte(self) -> float:
        return 1e9 / self.bytes_per_model


def main() -> None:
    """Measure each kind, print a table."""
    arguments = _arguments()
    figures: list[Figure] = []
    left_out: dict[str, str] = {}
    for kind in arguments.kinds:
        models = list(derive(kind, max(COUNTS["tenantry"][kind])))
        for name in arguments.contenders:
            with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
                counts = COUNTS.get(name, THEIRS)[kind]
                contender = enter(stack, STARTS[name], name, Path(folder), models[: max(counts)])
                if isinstance(contender, str):
                    left_out[name] = contender
                else:
                    figures += _measure(contender, kind, models, counts)
            # At once: one that fails takes only what would have followed with it.
            if arguments.out is not None:
                _write(figures, left_out, arguments.out)
    print(_table(figures))
    for name, why in left_out.items():
        print(f"{name}: left out: {why}")


def _write(figures: Sequence[Figure], left_out: Mapping[str, str], out: Path) -> None:
    lines = [asdict(one) | {"models_per_gigabyte": round(one.per_gigabyte)} for one in figures]
    document = {"summary": _summary(figures), "figures": lines, "left_out": left_out}
    out.write_text(json.dumps(document, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    return parser.parse_args()


def _measure(contender: Contender, kind: str, models: Sequence[Model], counts: Sequence[int]) -> list[Figure]:
    figures = []
    with contender.client() as client:
        _open(contender, client, models[:FIRST])
        before, opened = _settled(contender), FIRST
        for count in counts:
            _open(contender, client, models[opened:count])
            grown = (_settled(contender) - before) / (count - FIRST)
            figures.append(Figure(contender.name, kind, count, round(grown, 1)))
            opened = count
    return figures


def _open(contender: Contender, client: httpx.Client, models: Iterable[Model]) -> None:
    """Ask for each model, whose answer has to be the estimator's."""
    frame = pd.DataFrame(ASKED)
    for model in models:
        if contender.name == "mlserver":
            client.post(f"/v2/repository/models/{model.name}/load").raise_for_status()
        answer = json.loads(contender.ask(client, model.name, ASKED))
        expected = model.estimator.predict(frame)
        if not np.allclose(answer, expected, rtol=1e-4, atol=1e-5):
            sys.exit(f"{contender.name} answered {answer} for {model.name}, expected {expected}")


def _settled(contender: Contender) -> int:
    """Bytes, once they hardly change: what was opened may go on being worked on in the background."""
    pids = contender.pids[:1]
    last = memory_bytes(pids, "Pss_Anon")
    for _ in range(30):
        time.sleep(1)
        now = memory_bytes(pids, "Pss_Anon")
        if abs(now - last) < last / 1000:
            break
        last = now
    return now


def _table(figures: Sequence[Figure]) -> str:
    lines = [f"{'':12}{'kind':>10}{'models':>9}{'kB a model':>12}{'models per GB':>15}"]
    lines += [
        f"{one.contender:12}{one.kind:>10}{one.models:9,}"
        f"{one.bytes_per_model / 1000:12.2f}{one.per_gigabyte:15,.0f}"
        for one in figures
    ]
    return "\n".join(lines)


def _summary(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    ours = [one for one in figures if one.contender == "tenantry"]
    most = {one.kind: one for one in ours}
    return [
        {
            "what": f"warm {kind} models per GB",
            "value": round(one.per_gigabyte),
            "unit": "models/GB",
            "target": TARGET if kind == "linear" else None,
            "better": "more",
        }
        for kind, one in most.items()
    ]


if __name__ == "__main__":
    main()
