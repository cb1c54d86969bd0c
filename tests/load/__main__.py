"""`PYTHONPATH=tests python -m load URL`: put load on a server of one's own."""

from __future__ import annotations

import argparse
import sys
from urllib.parse import urlsplit

from load.generator import measure
from load.target import NotOurs, Target, post


def main() -> int:
    """Exit with 1 if any request failed."""
    parser = argparse.ArgumentParser(prog="load", description=__doc__)
    parser.add_argument("url", help="what to POST to, on this machine")
    parser.add_argument("--data", default="[]", help="the body (default: %(default)s)")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--count", type=int, default=100_000, help="requests at most (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="at most (default: %(default)s)")
    parser.add_argument("--rate", type=float, help="requests a second at most")
    parser.add_argument(
        "--own", action="append", default=[], help="an address of this machine beside loopback"
    )
    arguments = parser.parse_args()
    try:
        target = Target.parse(arguments.url, tuple(arguments.own))
    except NotOurs as error:
        parser.error(str(error))
    parts = urlsplit(arguments.url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {name.strip(): value.strip() for name, _, value in (h.partition(":") for h in arguments.header)}
    request = post(path, arguments.data.encode(), headers, host=parts.netloc)
    result = measure(
        target,
        lambda _: request,
        connections=arguments.connections,
        count=arguments.count,
        seconds=arguments.seconds,
        rate=arguments.rate,
    )
    print(result.summary())
    return 1 if result.errors else 0


if __name__ == "__main__":
    sys.exit(main())
