"""The command `tenantry`, put together."""

from __future__ import annotations

import typer

from tenantry.commands.apply import apply
from tenantry.commands.delete import delete
from tenantry.commands.describe import describe
from tenantry.commands.explain import explain
from tenantry.commands.get import get
from tenantry.commands.logs import logs
from tenantry.commands.predict import predict
from tenantry.commands.publish import publish
from tenantry.commands.up import up
from tenantry.commands.version import version

app = typer.Typer(
    name="tenantry",
    help="Serve thousands of small per-tenant models, warm, from a few shared predictors.",
    epilog="Which target: --state, else --context, else a running `tenantry up`, else the kubeconfig.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (up, publish, apply, get, describe, delete, predict, explain, logs, version):
    app.command()(command)
