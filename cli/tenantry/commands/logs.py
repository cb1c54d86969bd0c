"""`tenantry logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantry.errors import CommandError
from tenantry.options import Context, State, open_target


def logs(
    part: Annotated[
        str | None, typer.Argument(help="operator, router, or a slot such as default-0. None: all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only so many of the last lines.")] = None,
    state: State = None,
    context: Context = None,
) -> None:
    """Show what the parts of Tenantry logged.

    \b
    Examples:
      tenantry logs --tail 20
      tenantry logs router -f
      tenantry logs default-0
    """
    target = open_target(state, context)
    if part is not None:
        for line in target.log(part, tail=tail, follow=follow):
            print(line, flush=follow)
        return
    if follow:
        raise CommandError(f"say which part to follow: one of {', '.join(target.roles())}")
    roles = target.roles()
    width = max((len(role) for role in roles), default=0)
    for role in roles:
        for line in target.log(role, tail=tail, follow=False):
            print(f"{role:<{width}} | {line}")
