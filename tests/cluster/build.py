"""Builds the programs that are not here yet: python tests/cluster/build.py [--node | --chart]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster import binaries, gobuild, programs
from cluster.errors import ClusterError


def main() -> int:
    """Builds what is missing and lists where each program is."""
    chosen = _parse()
    try:
        for program in chosen:
            path = binaries.find(program) or gobuild.build(program)
            print(f"{program.name:<24} {path}", flush=True)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what is built stays", file=sys.stderr)
        return 130
    return 0


def _parse() -> tuple[programs.Program, ...]:
    parser = argparse.ArgumentParser(description=__doc__)
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--node", action="store_true", help="those of a real node, in place of the tests'")
    others.add_argument("--chart", action="store_true", help="those that check the chart")
    options = parser.parse_args()
    if options.node:
        return programs.FOR_NODE
    return programs.FOR_CHART if options.chart else programs.FOR_TESTS


if __name__ == "__main__":
    sys.exit(main())
