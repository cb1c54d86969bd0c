"""`tenantry publish`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console

from tenantry.commands.apply import namespace_of
from tenantry.errors import CommandError
from tenantry.options import Context, Namespace, State, open_target
from tenantry.target import Target
from tenantry_core.names import LABEL_PATTERN
from tenantry_core.resources import GROUP

if TYPE_CHECKING:
    from tenantry.publishing.publisher import Published


def publish(
    model: Annotated[
        Path,
        typer.Argument(
            help="Its file (.joblib, .pkl, .skops, .ubj, .xgb.json, .lgb.txt, .onnx), or MLflow's folder."
        ),
    ],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose model it is.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            help="s3://bucket/path or file:///folder.  [default: STATE/models/ of a local target]",
        ),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Apply the manifest instead of printing it.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Of the resource.  [default: the tenant, as a DNS label]")
    ] = None,
    sample: Annotated[
        Path | None,
        typer.Option(
            help="Rows that the model answers (.csv, or .json: records): it is probed with the first."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER", help="A figure for the model card, such as rmse=3.1. Repeatable."
        ),
    ] = None,
    namespace: Namespace = None,
    state: State = None,
    context: Context = None,
) -> None:
    """Convert a model, check that it answers as before, upload it, and print its manifest.

    A model of scikit-learn, XGBoost or LightGBM becomes an ONNX graph that is compared with it on rows of
    all sizes and around its own split thresholds; where none agrees, it is published in a safe format of its
    own and served as it is. The artifact is named by its digest: publishing the same again changes nothing.
    Beside it lies its card, with inputs, versions and metrics.

    A pickle runs code when it is opened. It is opened here, on your machine, because it is your own file;
    predictors never open one.

    \b
    Examples:
      tenantry publish model.joblib --tenant acme --apply
      tenantry publish model.pkl --tenant acme --sample rows.csv --to s3://models > acme.yaml
      tenantry publish mlruns/1/models/m-7d2f/artifacts --tenant acme --metric rmse=3.1 --apply
    """
    # scikit-learn and its converter take seconds to import; only this command needs them.
    from tenantry.publishing.errors import PublishError
    from tenantry.publishing.files import read_sample
    from tenantry.publishing.publisher import publish as publish_model
    from tenantry.publishing.publisher import resource_name

    if name is not None and re.fullmatch(LABEL_PATTERN, name) is None:
        raise CommandError(
            f"--name {name!r} is no DNS label: use up to 63 lower-case letters, digits and '-', with a "
            "letter or digit at both ends"
        )
    target = open_target(state, context) if apply or to is None else None
    try:
        with Console(stderr=True).status(f"converting and comparing {model}"):
            rows = read_sample(sample) if sample else None
            published = publish_model(
                model,
                tenant=tenant,
                to=to or _default_prefix(target),
                sample=rows,
                metrics=_metrics(metric or []),
            )
    except PublishError as error:
        raise CommandError(str(error)) from error
    name = name or _said(tenant, resource_name(tenant))
    _report(published)
    manifest = published.manifest(name, namespace or "")
    if not apply:
        print(yaml.safe_dump(manifest, sort_keys=False), end="")
    elif target is not None:
        _apply(target, manifest, namespace)


def _default_prefix(target: Target | None) -> str:
    prefix = target.models_prefix if target is not None else None
    if prefix is None:
        raise CommandError("say where the artifact goes: --to s3://bucket/path, where the pool may read it")
    return prefix


def _metrics(given: list[str]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for text in given:
        name, _, number = text.partition("=")
        try:
            figures[name] = float(number)
        except ValueError as error:
            raise CommandError(f"--metric {text!r} is no NAME=NUMBER, such as rmse=3.1") from error
    return figures


def _said(tenant: str, name: str) -> str:
    if name != tenant:
        print(
            f"{tenant} is no DNS label: the resource is named {name}; --name chooses another", file=sys.stderr
        )
    return name


def _report(published: Published) -> None:
    print(f"{published.note}\n{published.uri}", file=sys.stderr)


def _apply(target: Target, manifest: dict[str, Any], namespace: str | None) -> None:
    applied = target.apply(manifest, namespace_of(manifest, namespace, target))
    print(f"tenantmodel.{GROUP}/{manifest['metadata']['name']} {applied.outcome}")
