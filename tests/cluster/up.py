"""Serves a cluster until Ctrl-C: python tests/cluster/up.py [--controllers | --fake-nodes N | --node]"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster import programs
from cluster.binaries import require
from cluster.controlplane import ControlPlane
from cluster.errors import ClusterError
from cluster.node import Node


def main() -> int:
    """Prints the shell lines that point kubectl at the control plane, then waits."""
    options = _parse()
    # A plain kill shall tidy up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _cluster(options) as plane:
            print(f"export KUBECONFIG={plane.kubeconfig}")
            print(f"export PATH={require(programs.KUBECTL).parent}:$PATH", flush=True)
            print("serving; Ctrl-C ends it and everything in it", file=sys.stderr)
            signal.pause()
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _cluster(options: argparse.Namespace) -> ControlPlane:
    if options.node:
        return Node()
    return ControlPlane(controllers=options.controllers, fake_nodes=options.fake_nodes)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--controllers", action="store_true", help="also run kube-controller-manager")
    parser.add_argument(
        "--fake-nodes", type=int, default=0, metavar="N", help="nodes that only pretend (with controllers)"
    )
    parser.add_argument("--node", action="store_true", help="a real node, with containers (as root)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
