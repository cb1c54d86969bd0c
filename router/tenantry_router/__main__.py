"""`python -m tenantry_router`: serve predictions from a snapshot folder.

The folder can be written by hand, by the feeder (`--feed-namespace`) or by a local operator:

    DIR/slices/placement-0-0.json
        {"entries": [{"model": "models.acme", "uid": "1", "created": "2026-01-01T00:00:00Z", "revision": 1,
                      "tenant": "acme", "pool": "default",
                      "targets": [{"reference": {"uri": "file:///models/acme.onnx", "format": "onnx"},
                                   "slots": ["default-0"]}]}]}
    DIR/addresses.json
        {"slots": [{"slot": "default-0", "pool": "default", "host": "127.0.0.1", "ports": {"http": 9000}}]}

    python -m tenantry_router --snapshot DIR --port 8080
    curl -d '[[1, 2]]' -H 'content-type: application/json' localhost:8080/predict/acme
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from tenantry_core.durations import parse_duration
from tenantry_core.http import server
from tenantry_core.http.sockets import check_free
from tenantry_core.tokens import TokenFile, TokenFileError
from tenantry_router.app import build
from tenantry_router.feeding import FEEDER_FLAG, Feeding
from tenantry_router.router import GrpcSettings, Settings


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.feeder:
        server.configure_logging(arguments.log_level)
        _feed(arguments.snapshot, arguments.feed_namespace)
    elif arguments.feed_namespace and arguments.worker is None:
        with Feeding(sys.argv[1:]):
            _serve(arguments)
    else:
        _serve(arguments)


def _feed(snapshot: Path, namespace: str) -> None:
    # Importing the Kubernetes client takes 20 MB and a moment; workers do without.
    from tenantry_core.credentials import NoCredentials
    from tenantry_router import feeder

    try:
        feeder.run(snapshot, namespace)
    except NoCredentials as error:
        sys.exit(f"the feeder cannot start: {error}")


def _serve(arguments: argparse.Namespace) -> None:
    settings = Settings(
        arguments.snapshot,
        arguments.default_timeout,
        _tokens(arguments.token_file),
        fed=arguments.feed_namespace is not None,
        users_database=_users_database(arguments.users_database),
        grpc=_grpc(arguments),
    )
    serving = server.Settings(
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        worker=arguments.worker,
        log_level=arguments.log_level,
        drain=arguments.drain,
    )
    try:
        if settings.grpc and arguments.worker is None:  # workers share it, and could share it with a stranger
            check_free(arguments.host, arguments.grpc_port)
        server.serve(partial(build, settings), serving)
    except server.PortTaken as error:
        sys.exit(str(error))


def _grpc(arguments: argparse.Namespace) -> GrpcSettings | None:
    if arguments.grpc_port is None:
        return None
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    return GrpcSettings(f"{host}:{arguments.grpc_port}", shared=arguments.workers > 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tenantry_router",
        description="Route predictions to the slots that have their models warm.",
    )
    parser.add_argument("--snapshot", type=Path, required=True, help="folder to learn placement from")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument(
        "--grpc-port", type=_port, help="answer the Open Inference Protocol by gRPC here (default: not)"
    )
    parser.add_argument("--workers", type=_count, default=1, help="processes that share the port")
    parser.add_argument("--token-file", type=Path, help="one token a line; the first is sent to predictors")
    parser.add_argument(
        "--users-database",
        metavar="URL",
        default=os.environ.get("TENANTRY_USERS_DATABASE", ""),
        help="where to read which model a user has; better TENANTRY_USERS_DATABASE, which ps does not show",
    )
    parser.add_argument("--feed-namespace", help="mirror this namespace's placement into the folder")
    parser.add_argument(
        "--default-timeout",
        type=_duration,
        default=10.0,
        help="for requests where neither client nor model says how long (default: 10s)",
    )
    parser.add_argument(
        "--drain",
        type=_duration,
        default=0.0,
        help="time without a request after which it ends when told to (default: it ends at once)",
    )
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument(FEEDER_FLAG, action="store_true", help=argparse.SUPPRESS)
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes: give 1 or more")
    return int(text)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _users_database(url: str) -> str:
    """Exits with a sentence for one that can never be used."""
    if url:
        from tenantry_router.users_database import UrlRefused, check_url

        try:
            check_url(url)
        except UrlRefused as error:
            sys.exit(str(error))
    return url


def _tokens(path: Path | None) -> TokenFile | None:
    """Exits with a sentence when the file cannot be read or holds none."""
    try:
        return TokenFile(path) if path else None
    except TokenFileError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
