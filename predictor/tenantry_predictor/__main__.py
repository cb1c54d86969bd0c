"""`python -m tenantry_predictor`: serve models, each loaded at its first request.

    python -m tenantry_predictor --slot default-0 --port 9000 --cache-dir /tmp/cache --prefix file:///models/
    curl -d '[[1, 2]]' -H 'Tenantry-Model: models.acme' -H 'Tenantry-Tenant: acme' \\
         -H 'Tenantry-Artifact: file:///models/acme.onnx' localhost:9000/predict
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import get_args

from tenantry_core.http import server
from tenantry_core.http.sockets import listen
from tenantry_core.tokens import TokenFile, TokenFileError
from tenantry_predictor.app import build
from tenantry_predictor.memory_limit import limit_memory
from tenantry_predictor.repositories.disk import CacheDirectoryUnusable
from tenantry_predictor.repositories.freshness import REFRESH_SECONDS
from tenantry_predictor.repositories.memory import Eviction
from tenantry_predictor.slot import Settings

_MIB = 1024 * 1024


def main() -> None:
    arguments = _parser().parse_args()
    settings = Settings(
        slot=arguments.slot,
        cache_directory=arguments.cache_dir,
        cache_memory=arguments.cache_memory,
        cache_disk=arguments.cache_disk,
        eviction=arguments.eviction,
        prefixes=tuple(arguments.prefix),
        formats=tuple(arguments.trust_format),
        s3_endpoint=arguments.s3_endpoint,
        s3_region=arguments.s3_region,
        tokens=_tokens(arguments.token_file),
        refresh=arguments.refresh,
        ready_after=arguments.ready_after,
    )
    serving = server.Settings(
        host=arguments.host, port=arguments.port, log_level=arguments.log_level, drain=arguments.drain
    )
    limit_memory(settings.cache_memory)
    try:
        metrics = None
        if arguments.metrics_port is not None:
            [metrics] = listen(arguments.host, arguments.metrics_port)
        server.serve(partial(build, settings, metrics), serving)
    except (server.PortTaken, CacheDirectoryUnusable) as error:
        sys.exit(str(error))
    # Nobody waits for an answer any more; a thread that a store holds up would be waited for all the same.
    logging.shutdown()
    os._exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tenantry_predictor", description="Serve the models that requests name, warm."
    )
    parser.add_argument("--slot", required=True, help="the slot's name, as default-0")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--metrics-port", type=int, metavar="PORT", help="serve /metrics alone there, too")
    parser.add_argument("--cache-dir", type=Path, required=True, help="folder for fetched artifacts")
    parser.add_argument("--cache-memory", type=_bytes, default=512 * _MIB, help="bytes of loaded models")
    parser.add_argument("--cache-disk", type=_bytes, default=2048 * _MIB, help="bytes of fetched artifacts")
    parser.add_argument(
        "--eviction",
        choices=get_args(Eviction),
        default="LFU",
        help="what leaves memory first: the least frequently or least recently used (default: %(default)s)",
    )
    parser.add_argument("--token-file", type=Path, help="accepted tokens, one a line; without it: everybody")
    parser.add_argument(
        "--prefix", action="append", default=[], help="allowed storage, ends in /; repeatable"
    )
    parser.add_argument("--trust-format", action="append", default=[], help="a format to open; repeatable")
    parser.add_argument("--s3-endpoint", default="", help="URL of an S3 server other than AWS")
    parser.add_argument("--s3-region", default="")
    parser.add_argument(
        "--refresh",
        type=_seconds,
        default=os.environ.get("TENANTRY_REFRESH", str(REFRESH_SECONDS)),
        help="seconds within which a changed artifact of a user is noticed (default: TENANTRY_REFRESH or 60)",
    )
    parser.add_argument(
        "--ready-after",
        type=_seconds,
        default=30.0,
        help="seconds after the last load that was asked for after which it is ready unasked; 0: at once",
    )
    parser.add_argument(
        "--drain",
        type=_seconds,
        default=0.0,
        help="seconds without a request after which it ends when told to; 0: at once",
    )
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser


def _bytes(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _tokens(path: Path | None) -> TokenFile | None:
    """Exits with a sentence when the file cannot be read or holds none."""
    try:
        return TokenFile(path) if path else None
    except TokenFileError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
