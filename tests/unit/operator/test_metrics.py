"""What counts as a move: a model that serves on other slots than before, and nothing else."""

from __future__ import annotations

import pytest

from tenantry_core.slices import Entry, Reference, Target
from tenantry_operator.reconciling import metrics


def entry(model: str, *slots: str, uid: str = "1", version: str = "a") -> Entry:
    targets = (Target(Reference("s3://models/m.onnx", "onnx", version * 64), slots),) if slots else ()
    return Entry(model, uid, "2026-01-01T00:00:00Z", 1, "acme", "default", targets=targets)


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        ([entry("ns.a", "s-0"), entry("ns.b", "s-0")], [entry("ns.a", "s-1"), entry("ns.b", "s-0")], 1),
        ([entry("ns.a", "s-0")], [entry("ns.a", "s-0", "s-1")], 1),
        ([entry("ns.a", "s-0", "s-1")], [entry("ns.a", "s-1", "s-0")], 0),
        ([entry("ns.a", "s-0")], [entry("ns.a", "s-0", version="b")], 0),
        ([], [entry("ns.a", "s-0")], 0),
        ([entry("ns.a")], [entry("ns.a", "s-0")], 0),
        ([entry("ns.a", "s-0")], [entry("ns.a")], 0),
        ([entry("ns.a", "s-0")], [], 0),
        ([entry("ns.a", "s-0")], [entry("ns.a", "s-1", uid="2")], 0),
    ],
)
def test_moves(before: list[Entry], after: list[Entry], moves: int) -> None:
    counted = moves_so_far()
    metrics.count_moves(before, after)
    assert moves_so_far() == counted + moves


def moves_so_far() -> float:
    [family] = metrics.MOVES.collect()
    return next(sample.value for sample in family.samples if sample.name.endswith("_total"))
