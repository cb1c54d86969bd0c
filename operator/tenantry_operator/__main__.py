"""`python -m tenantry_operator`: the operator in a cluster."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tenantry_core.credentials import NoCredentials
from tenantry_core.resources import PredictorPoolSpec, from_manifest
from tenantry_core.tokens import TokenFile, TokenFileError
from tenantry_operator.kubernetes.cleanup import CleanupFailed, clean_up
from tenantry_operator.kubernetes.release import Release
from tenantry_operator.kubernetes.run import OperatorStopped, Settings, run

DEFAULT_IMAGE = f"tenantry/predictor:{version('tenantry')}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 after a signal, 1 when it could not go on, 2 for a command line it cannot follow."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _configure_logging(options.log_level)
    try:
        settings = _settings(options)
    except (ValueError, TokenFileError) as error:
        parser.error(str(error))
    work = clean_up(options.namespace, options.operator_deployment) if options.cleanup else run(settings)
    try:
        asyncio.run(work)
    except (OperatorStopped, CleanupFailed, NoCredentials, OSError) as error:
        print(f"tenantry_operator: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tenantry_operator", description="Runs the Tenantry operator.")
    parser.add_argument("--namespace", required=True, help="the release's: pools' pods and slices live in it")
    parser.add_argument(
        "--default-pool",
        type=Path,
        metavar="FILE",
        help="YAML spec of the pool `default`, made where there is no pool, and kept like this",
    )
    parser.add_argument("--predictor-image", default=DEFAULT_IMAGE, metavar="IMAGE")
    parser.add_argument(
        "--image-pull-policy",
        default="",
        choices=["Always", "IfNotPresent", "Never"],
        help="of predictors; left out, Kubernetes decides by the tag",
    )
    parser.add_argument(
        "--image-pull-secret",
        action="append",
        default=[],
        metavar="NAME",
        help="Secret that gives access to the predictors' image; repeatable",
    )
    parser.add_argument(
        "--predictor-service-account",
        default="",
        metavar="NAME",
        help="of predictors whose pool names none",
    )
    parser.add_argument(
        "--token-secret",
        default="",
        metavar="NAME",
        help="Secret, with the key `token`, for predictors",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="the same tokens, to show to predictors",
    )
    parser.add_argument("--router-url", default="", metavar="URL", help="where applications reach the router")
    parser.add_argument("--standalone", action="store_true", help="lead at once, without a Lease")
    parser.add_argument("--metrics-port", type=int, metavar="PORT", help="serve /metrics, /livez and /readyz")
    parser.add_argument("--cleanup", action="store_true", help="delete what the operator has made, and end")
    parser.add_argument(
        "--operator-deployment",
        default="",
        metavar="NAME",
        help="with --cleanup: what to stop first",
    )
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    """Raises ValueError and TokenFileError for a file that cannot be used."""
    return Settings(
        release=Release(
            namespace=options.namespace,
            image=options.predictor_image,
            pull_policy=options.image_pull_policy,
            pull_secrets=tuple(options.image_pull_secret),
            service_account=options.predictor_service_account,
            token_secret=options.token_secret,
        ),
        router_url=options.router_url,
        tokens=TokenFile(options.token_file) if options.token_file else None,
        default_pool=_read_pool(options.default_pool),
        standalone=options.standalone,
        metrics_port=options.metrics_port,
    )


def _read_pool(path: Path | None) -> dict[str, Any] | None:
    """As it stands there: what it leaves out is not the operator's to set."""
    if path is None:
        return None
    try:
        spec: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
        from_manifest(spec, PredictorPoolSpec)
    except (yaml.YAMLError, msgspec.ValidationError, OSError) as error:
        raise ValueError(f"--default-pool {path}: {error}") from error
    return spec


def _configure_logging(level: str) -> None:
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    quiet = logging.DEBUG if level == "debug" else logging.WARNING
    if level != "debug":
        # Each attempt of each watch; that the API server is out of touch is said once, elsewhere.
        for name in ("kopf._cogs.clients", "tenantry_core.api_watch"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("kopf", "httpx", "httpcore", "aiohttp", "asyncio", "kubernetes"):
        logging.getLogger(name).setLevel(quiet)


if __name__ == "__main__":
    sys.exit(main())
