"""`tenantry explain`: which model would answer a user, and why."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from tenantry import documents, router_calls
from tenantry.options import Context, Document, State, Tenant, Url, open_target


def explain(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    tenant: Tenant = None,
    output: Annotated[Document, typer.Option("--output", "-o", help="How to print.")] = Document.YAML,
    state: State = None,
    context: Context = None,
    url: Url = None,
) -> None:
    """Tell which model, version and slot would serve a user, why, and what else was possible.

    \b
    Examples:
      tenantry explain acme
      tenantry explain acme:42
      tenantry explain 42 --tenant acme -o json
    """
    answer = json.loads(router_calls.explain(open_target(state, context, url), user, tenant).body)
    sys.stdout.write(documents.as_json(answer) if output is Document.JSON else documents.as_yaml(answer))
