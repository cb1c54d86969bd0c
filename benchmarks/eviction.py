"""Skewed traffic over more models than fit: hit ratios of the predictor's policy, of others, of the optimum.

    python benchmarks/eviction.py [--out eviction.json]

10,000 models, memory for 1 % and for 10 % of them. The predictor's own memory tier, as it is in the product,
beside reference implementations (policies.py) on the same 400,000 requests (traces.py), of which the first
100,000 are not counted. Then models of three kinds, with sizes and times of loading as runtimes.py measures
them. Nothing is loaded here; eviction_live.py replays a trace over HTTP.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import policies
from tenantry_predictor.repositories.base import Key
from tenantry_predictor.repositories.memory import Eviction, MemoryTier
from tenantry_predictor.runtimes.base import AnyArray, LoadedModel
from traces import MODELS, WARM_UP, Ids, trace

ALPHAS = (0.8, 1.0, 1.2)
TRACES = ("stationary", "drift", "change", "sweep", "sessions")
SHARES = (0.01, 0.1)
PEERS = ("SIEVE", "S3FIFO", "WTinyLFU")
KINDS = ((0.6, 1_000, 0.001), (0.3, 100_000, 0.002), (0.1, 800_000, 0.009))
"""Linear models, boosted trees, forests: share of the models, bytes, seconds to load."""


@dataclass(frozen=True)
class Case:
    """One trace over one cache."""

    kind: str
    alpha: float
    share: float
    mixed: bool = False
    """Models of several sizes."""


@dataclass(frozen=True)
class Figures:
    """Of the counted requests."""

    hits: float
    """Percent."""
    byte_hits: float
    load_milliseconds: float
    """A request's wait for loads, mean."""


class Sized(LoadedModel):
    """A model that has only a size."""

    engine = "none"
    inputs = outputs = ()

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def predict(self, tensors: Mapping[str, AnyArray], outputs: Sequence[str]) -> dict[str, AnyArray]:
        raise NotImplementedError

    def close(self) -> None:
        """There is nothing to close."""


class Tenantry:
    """The predictor's memory tier."""

    def __init__(
        self, capacity: int, sizes: Sequence[int], seconds: Sequence[float], eviction: Eviction
    ) -> None:
        self._tier = MemoryTier(capacity, lambda model: None, eviction)
        self._keys = [Key("tenant", f"{model:064x}", "onnx") for model in range(len(sizes))]
        self._sizes, self._seconds = sizes, seconds

    def request(self, model: int) -> bool:
        tier, key = self._tier, self._keys[model]
        entry = tier.get(key)
        if entry is not None:
            tier.touched(entry)
            return True
        tier.release(tier.add(key, Sized(self._sizes[model]), self._seconds[model]))
        return False


def main() -> None:
    """Run all cases on all cores, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the figures to this file, as JSON")
    out = parser.parse_args().out
    cases = [Case(kind, alpha, share) for kind in TRACES for alpha in ALPHAS for share in SHARES]
    cases += [Case(kind, 1.0, share, mixed=True) for kind in ("stationary", "sessions") for share in SHARES]
    with multiprocessing.Pool() as pool:
        results = []
        for case, figures in zip(cases, pool.imap(measure, cases), strict=True):
            _print(case, figures)
            results.append((case, figures))
    summary = _summary(results)
    for row in summary:
        print(f"{row['what']:85}{row['value']:6.1f} {row['unit']} (target: {row['target']})")
    if out is not None:
        rows = [
            {**vars(case), "policies": {name: vars(f) for name, f in figures.items()}}
            for case, figures in results
        ]
        out.write_text(json.dumps({"summary": summary, "cases": rows}, indent=2) + "\n")


def measure(case: Case) -> dict[str, Figures]:
    """All policies over one case."""
    asked = trace(case.kind, case.alpha)
    order = asked.tolist()
    sizes, seconds = _models(case.mixed)
    capacity = int(sum(sizes) * case.share)
    contenders: dict[str, policies.Policy] = {
        "LRU": policies.LRU(capacity, sizes),
        "SIEVE": policies.SIEVE(capacity, sizes),
        "S3FIFO": policies.S3FIFO(capacity, sizes),
        "WTinyLFU": policies.WTinyLFU(capacity, sizes),
        "tenantry": Tenantry(capacity, sizes, seconds, "LFU"),
        "static": policies.Static(capacity, sizes, order),
        "MIN": policies.MIN(capacity, sizes, order),
    }
    return {name: _replay(policy, asked, sizes, seconds) for name, policy in contenders.items()}


def _models(mixed: bool) -> tuple[list[int], list[float]]:
    """Sizes and seconds to load, by model."""
    if not mixed:
        return [1000] * MODELS, [0.001] * MODELS
    shares, sizes, seconds = zip(*KINDS, strict=True)
    kinds = np.random.default_rng(11).choice(len(KINDS), MODELS, p=shares)
    return np.array(sizes)[kinds].tolist(), np.array(seconds)[kinds].tolist()


def _replay(policy: policies.Policy, asked: Ids, sizes: Sequence[int], seconds: Sequence[float]) -> Figures:
    hit = np.fromiter(map(policy.request, asked.tolist()), bool, len(asked))[WARM_UP:]
    counted = asked[WARM_UP:]
    bytes_asked, loads = np.array(sizes)[counted], np.array(seconds)[counted]
    return Figures(
        float(100 * hit.mean()),
        float(100 * bytes_asked[hit].sum() / bytes_asked.sum()),
        float(1000 * loads[~hit].sum() / len(hit)),
    )


def _print(case: Case, figures: dict[str, Figures]) -> None:
    if case == Case(TRACES[0], ALPHAS[0], SHARES[0]):
        print(f"{'hit ratio, %':26}" + "".join(f"{name:>10}" for name in figures))
    name = f"{case.kind} {case.alpha} {case.share:.0%}"
    rows = {f"{name} mixed" if case.mixed else name: [f.hits for f in figures.values()]}
    if case.mixed:
        rows["  of bytes"] = [f.byte_hits for f in figures.values()]
        rows["  mean load, us a request"] = [1000 * f.load_milliseconds for f in figures.values()]
    for row, values in rows.items():
        print(f"{row:26}" + "".join(f"{value:10.1f}" for value in values), flush=True)


def _summary(results: list[tuple[Case, dict[str, Figures]]]) -> list[dict[str, Any]]:
    """The worst case of each claim, in points."""

    def worst(kinds: tuple[str, ...], against: tuple[str, ...]) -> float:
        return max(
            max(figures[name].hits for name in against) - figures["tenantry"].hits
            for case, figures in results
            if case.kind in kinds and not case.mixed
        )

    rows = {
        "hit ratio below the static optimum, stationary": (("stationary",), ("static",), 3),
        "hit ratio below the best of SIEVE, S3-FIFO, W-TinyLFU under drift and sweep": (
            ("drift", "change", "sweep"), PEERS, 2,
        ),
        "the same in sessions": (("sessions",), PEERS, 2),
    }  # fmt: skip
    return [
        {
            "what": what,
            "value": round(worst(kinds, against), 2),
            "unit": "points",
            "target": target,
            "better": "less",
        }
        for what, (kinds, against, target) in rows.items()
    ]


if __name__ == "__main__":
    main()
