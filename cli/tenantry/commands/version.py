"""`tenantry version`."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from tenantry.options import Context, State, Url, open_target


def version(
    client: Annotated[bool, typer.Option("--client", help="Of this command only.")] = False,
    state: State = None,
    context: Context = None,
    url: Url = None,
) -> None:
    """Show the version of this command, and of what answers at the target.

    \b
    Examples:
      tenantry version
      tenantry version --client
    """
    print(f"Client Version: {installed_version('tenantry')}")
    if not client:
        print(f"Server Version: {open_target(state, context, url).version()}")
