"""`tenantry up`: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from tenantry.errors import CommandError
from tenantry.running import default_state
from tenantry_operator.local.directory import StateError

Directory = Annotated[
    Path | None,
    typer.Option(
        "--state",
        envvar="TENANTRY_STATE",
        metavar="DIR",
        help="Where everything is kept.  [default: ~/.local/state/tenantry/default]",
    ),
]


def up(
    state: Directory = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the router; 0: any that is free.")] = 8080,
    grpc_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Of the router for gRPC; 0: any that is free.  [default: 9000, or any while that is taken]",
        ),
    ] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, max=256, help="Predictors of the default pool.  [default: 2]")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX", help="Let models lie below this prefix too. Repeatable."),
    ] = None,
) -> None:
    """Serve on this machine, without Kubernetes, until Ctrl-C.

    What was applied is kept in the state directory, and served again when it is up again. Models may lie
    below STATE/models/, where `tenantry publish` puts them, and below each --allow PREFIX.

    \b
    Examples:
      tenantry up
      tenantry up --state ./demo --port 9000 --slots 4
      tenantry up --allow s3://models/ --allow file:///srv/models
    """
    # What runs a system takes a second to import; only this command needs it.
    from tenantry.foreground import serve
    from tenantry.up import UpOptions

    options = UpOptions(state or default_state(), port, grpc_port, slots, tuple(allow or ()))
    try:
        asyncio.run(serve(options))
    except StateError as error:
        raise CommandError(str(error)) from error
