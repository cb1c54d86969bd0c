"""The planner alone: thousands of models planned for the first time, and one change among them.

    python benchmarks/planner.py [--models 10000 100000] [--rounds 3] [--out planner.json]

Nothing runs but the pure planner, on a pool of 100 slots. Planned for the first time: what has been observed
goes in, every PlacementSlice comes out. One change: of models that all stand, one gets another version; from
the observation to the plan that says what follows. CPU seconds, the median of rounds.

Beside it stands a floor: numpy ranks the same slots for the same models, by the same hash, and gives each its
best one. That knows no bound on a slot, no tenants, no allowed storage, no state, and makes no entries.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from tenantry_core.hashing import hash_name, scores
from tenantry_core.resources import (
    ActiveVersion,
    Artifact,
    Metadata,
    PredictorPool,
    PredictorPoolSpec,
    TenantModel,
    TenantModelSpec,
    TenantModelStatus,
)
from tenantry_operator.planning.plan import Plan
from tenantry_operator.planning.planner import Planner
from tenantry_operator.planning.world import Instance
from tenantry_operator.reconciling.state import ObservedState

SLOTS = 100
CHANGES = 20
"""Changes made one after the other, in each round."""
TARGETS = {100_000: (1.0, 20.0)}
"""By models: seconds to plan all, milliseconds to replan one change."""

T = TypeVar("T")


class Round(NamedTuple):
    """CPU seconds."""

    planned: float
    floor: float
    change: float


def main() -> None:
    """Measure, print."""
    arguments = _arguments()
    rounds: dict[int, list[Round]] = {count: [] for count in arguments.models}
    for _ in range(arguments.rounds):
        for count in arguments.models:
            rounds[count].append(_round(count))
    rows = {
        count: Round(*map(statistics.median, zip(*found, strict=True))) for count, found in rounds.items()
    }
    print(f"{'models':>10}{'planned, s':>14}{'floor, s':>12}{'one change, ms':>18}")
    for count, row in rows.items():
        print(f"{count:10,}{row.planned:14.3f}{row.floor:12.3f}{row.change * 1e3:18.2f}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(_report(rows), indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, nargs="+", default=[10_000, 100_000], metavar="COUNT")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the figures to this file, as JSON")
    return parser.parse_args()


def _report(rows: dict[int, Round]) -> dict[str, Any]:
    summary = [
        one
        for count, (planned, change) in TARGETS.items()
        if count in rows
        for one in (
            _line(f"{count:,} models planned", rows[count].planned, "s", planned),
            _line(f"one change replanned among {count:,}", rows[count].change * 1e3, "ms", change),
        )
    ]
    return {"summary": summary, "cpu_seconds": {str(count): row._asdict() for count, row in rows.items()}}


def _line(what: str, value: float, unit: str, target: float) -> dict[str, Any]:
    return {"what": what, "value": round(value, 3), "unit": unit, "target": target, "better": "less"}


def _round(count: int) -> Round:
    # As the operator does: what has been observed and planned is not looked through for garbage.
    gc.collect()
    gc.disable()
    try:
        state = _observed(count)
        floor = _cpu(lambda: _floor(count))[0]
        planner = Planner()
        planned, plan = _cpu(lambda: planner.plan(state.world()))
        _check(plan, count)
        plan = _settle(state, planner, plan)
        changes = [_change(state, planner, plan, number) for number in range(CHANGES)]
        return Round(planned, floor, statistics.median(changes))
    finally:
        gc.enable()


def _observed(count: int) -> ObservedState:
    """A pool whose slots are ready, and models that have just been applied."""
    state = ObservedState(router_url="http://router.example")
    state.put_pool(PredictorPool(Metadata("default"), PredictorPoolSpec(replicas=SLOTS)))
    for number in range(SLOTS):
        state.put_slot(f"default-{number}", "default", [Instance(f"pod-{number}", "10.0.0.1", 8080, True)])
    for number in range(count):
        state.put_model(_model(number))
    return state


def _model(number: int, generation: int = 1) -> TenantModel:
    name = f"m{number:06}"
    sha256 = f"{number:032x}{generation:032x}"
    metadata = Metadata(name, "default", f"uid-{name}", generation, "2026-01-01T00:00:00Z")
    return TenantModel(metadata, TenantModelSpec(Artifact(f"s3://models/{name}/model.onnx", sha256)))


def _floor(count: int) -> object:
    keys = [hash_name(f"default.m{number:06}") for number in range(count)]
    return scores(keys, [f"default-{number}" for number in range(SLOTS)]).argmax(axis=1)


def _check(plan: Plan, count: int) -> None:
    """Every model is in one slice, on one slot, and no slot holds more than its share and a quarter."""
    slots = [t.slots for entries in plan.slices.values() for e in entries for t in e.targets]
    held = Counter(one for several in slots for one in several)
    if len(slots) != count or held.total() != count or max(held.values()) > 1.26 * count / SLOTS:
        sys.exit("The plan is not what it should be.")


def _settle(state: ObservedState, planner: Planner, plan: Plan) -> Plan:
    """All slices are written, every model has been loaded, and its status says so."""
    for name, entries in plan.slices.items():
        state.wrote_slice(name, entries)
    models = state.world().models
    for key, status in plan.statuses.items():
        state.put_model(_loaded(models[key], status))
    for _ in range(3):
        plan = planner.plan(state.world(placement=plan.placement))
        for key, status in plan.statuses.items():
            state.wrote_status(models[key], status)
    if plan.statuses or plan.slices or plan.checks:
        sys.exit("There is still something to do.")
    return plan


def _loaded(model: TenantModel, status: TenantModelStatus) -> TenantModel:
    artifact = model.spec.artifact
    active = ActiveVersion(artifact.sha256[:12], artifact.uri, "onnx", 1, artifact.sha256)
    return msgspec.structs.replace(model, status=msgspec.structs.replace(status, active=active))


def _change(state: ObservedState, planner: Planner, plan: Plan, number: int) -> float:
    """CPU seconds until the plan asks for the new version to be loaded."""
    known = state.world().models[f"default.m{number:06}"]
    changed = msgspec.structs.replace(_model(number, 2), status=known.status)

    def replan() -> Plan:
        state.put_model(changed)
        return planner.plan(state.world(placement=plan.placement))

    seconds, after = _cpu(replan)
    if changed.key not in {check.model for check in after.checks}:
        sys.exit("The change is not in the plan.")
    return seconds


def _cpu(work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


if __name__ == "__main__":
    main()
