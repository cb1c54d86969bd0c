"""How evenly requests come down on slots, and how much moves when one comes or goes.

    python benchmarks/routing.py [--requests 2000] [--sent 20000] [--out routing.json]

10,000 models whose popularity follows Zipf's law, 10 and 100 slots. First by the planner's and the router's
own code without any process, then through real processes: nginx with a consistent hash, HAProxy with a
consistent hash and bounded loads, and Tenantry's router with the placement that the planner made.

Needs nginx, haproxy and wrk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from processes import require
from proxies import haproxy, nginx
from routing_plan import (
    MODELS,
    USERS,
    Floats,
    measured,
    moved,
    places,
    plan,
    popularity,
    settled,
    simulate,
    slot_names,
    worst,
)
from routing_proxies import Slots, send, tenantry
from wrk import Server

ALPHAS = (0.8, 1.0, 1.2)
FLEETS = (10, 100)
MAIN = 1.0
"""The skew of what real proxies are sent."""
CAPACITY = 5000
"""Requests per second that all slots together answer, where processes are real."""
TARGETS = {10: 1.25, 100: 1.35}

Trace = list[int]


def main() -> None:
    """Measure, print tables, write the figures."""
    arguments = _arguments()
    require("nginx", "haproxy", "wrk")
    simulated = [
        spread(alpha, count, max(50, count) * arguments.requests) for count in FLEETS for alpha in ALPHAS
    ]
    print("requests of the busiest slot / mean, planner's and router's code")
    print(f"{'slots':>6}{'Zipf':>6}{'tenants':>9}{'users':>9}{'on another':>12}{'replicas':>10}{'moved':>7}")
    for row in simulated:
        print(
            f"{row['slots']:6}{row['alpha']:6}{row['tenants']:9.3f}{row['users']:9.3f}"
            f"{row['users_overflow']:12.3%}{row['more_replicas']:10}{row['moved_by_load']:7}"
        )
    real = [sent(count, arguments.sent) for count in FLEETS]
    print(f"\nthe same with real processes, Zipf {MAIN}, {arguments.sent} requests")
    for each in real:
        print(
            "  ".join(f"{name} {value:.3f}" for name, value in each["spread"].items()),
            f"({each['slots']} slots)",
        )
    movement = {"tenantry": keys_moved()} | {
        name: ring_moved(proxy) for name, proxy in (("nginx", nginx), ("haproxy", haproxy))
    }
    print("\nkeys moved / least possible, 10 slots")
    for name, figures in movement.items():
        print(f"{name:10}" + "  ".join(f"{what} {value:.3f}" for what, value in figures.items()))
    if arguments.out is not None:
        document = {
            "summary": summary(simulated, movement["tenantry"]),
            "simulated": simulated,
            "real": real,
            "moved": movement,
        }
        arguments.out.write_text(json.dumps(document, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--requests", type=int, default=2000, help="simulated, for each slot (default: %(default)s)"
    )
    parser.add_argument("--sent", type=int, default=20_000, help="to each process (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    return parser.parse_args()


def summary(simulated: list[dict[str, Any]], movement: dict[str, float]) -> list[dict[str, Any]]:
    """What `make bench` puts into its table."""
    rows: list[dict[str, Any]] = [
        {"what": "keys moved / least possible", "value": max(movement.values()), "unit": "x", "target": 1.02}
    ]
    rows += [
        {
            "what": f"max/mean load, {row['slots']} slots, Zipf {MAIN}, {kind}",
            "value": row[kind],
            "unit": "x",
            "target": TARGETS[row["slots"]],
        }
        for row in simulated
        if row["alpha"] == MAIN
        for kind in ("tenants", "users")
    ]
    return [row | {"better": "less"} for row in rows]


# Without processes


def spread(alpha: float, count: int, requests: int) -> dict[str, Any]:
    """Of tenants without users, and of tenants with users."""
    slots, shares, trace, random = _case(alpha, count, requests)
    placements = settled(shares, slots, random)
    placed = placements[-1]
    users = random.integers(0, USERS, requests).tolist()
    without, with_users = simulate(placed, slots, trace, None), simulate(placed, slots, trace, users)
    return {
        "slots": count,
        "alpha": alpha,
        "tenants": without.worst,
        "users": with_users.worst,
        "users_overflow": with_users.overflow,
        "more_replicas": sum(map(len, placed.values())) - MODELS,
        "moved_by_load": moved(placements[0], placed),
        "moved_later": moved(placements[-2], placed),
    }


def _case(
    alpha: float, count: int, requests: int
) -> tuple[tuple[str, ...], Floats, Trace, np.random.Generator]:
    random = np.random.default_rng(count)
    shares = popularity(alpha, random)
    trace: Trace = random.choice(MODELS, size=requests, p=shares).tolist()
    return slot_names(count), shares, trace, random


def keys_moved() -> dict[str, float]:
    """A slot is lost, or one more comes, while the load is as it was; beside what cannot but move."""
    random = np.random.default_rng(0)
    shares, slots = popularity(MAIN, random), slot_names(11)
    ten = settled(shares, slots[:10], random)[-1]
    rates = measured(shares, 10, random)
    lost, joined = plan(ten, rates, slots[:9]), plan(ten, rates, slots)
    fair = sum(map(len, joined.values())) / 11
    return {"lost": moved(ten, lost) / places(ten, slots[9]), "joined": moved(ten, joined) / fair}


# With processes


def sent(count: int, requests: int) -> dict[str, Any]:
    """The same requests through each proxy."""
    slots, shares, trace, random = _case(MAIN, count, requests)
    placed = settled(shares, slots, random)[-1]
    real = Slots(slots)
    found = {"simulated": simulate(placed, slots, trace, None).worst}
    with tempfile.TemporaryDirectory() as name, real.running(1000 * count / CAPACITY):
        folder = Path(name)
        for proxy, started in (
            ("nginx", nginx(folder, real.ports)),
            ("haproxy", haproxy(folder, real.ports)),
            ("tenantry", tenantry(folder, real, placed)),
        ):
            with started as server:
                counts = send(folder, server.port, real, trace, connections=2 * count)
            found[proxy] = worst(counts, count)
    return {"slots": count, "spread": found}


def ring_moved(proxy: Callable[[Path, Sequence[int]], AbstractContextManager[Server]]) -> dict[str, float]:
    """The same of a proxy's hash: each path is sent once, and the slot that it comes to is noted."""
    slots = Slots(slot_names(11))
    with tempfile.TemporaryDirectory() as name, slots.running(0):
        maps = []
        for count in (10, 9, 11):
            with proxy(Path(name), slots.ports[:count]) as server:
                send(Path(name), server.port, slots, range(MODELS), connections=1)
                maps.append(slots.keys())
    ten, lost, joined = maps
    own = sum(slot == slots.names[9] for slot in ten.values())
    return {
        "lost": sum(ten[key] != lost[key] for key in ten) / own,
        "joined": sum(ten[key] != joined[key] for key in ten) / (MODELS / 11),
    }


if __name__ == "__main__":
    main()
