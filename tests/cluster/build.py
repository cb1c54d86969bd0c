"""Builds the programs that are not here yet: python tests/cluster/build.py [--node]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster import binaries, gobuild, programs
from cluster.errors import ClusterError


def main() -> int:
    """Builds what is missing and lists where each program is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node", action="store_true", help="those of a real node, in place of the tests'")
    chosen = programs.FOR_NODE if parser.parse_args().node else programs.FOR_TESTS
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


if __name__ == "__main__":
    sys.exit(main())
