"""Options that several commands share, and the target that they choose."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tenantry.choosing import choose
from tenantry.target import Target

State = Annotated[
    Path | None,
    typer.Option("--state", envvar="TENANTRY_STATE", help="State directory of an `up`.", metavar="DIR"),
]
Context = Annotated[
    str | None, typer.Option("--context", help="Context of the kubeconfig: act on that cluster.")
]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of the resources.")]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="List all namespaces.")]
Url = Annotated[
    str | None,
    typer.Option("--url", envvar="TENANTRY_URL", help="Where the router is, if it should not be looked up."),
]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", help="The user's tenant. Else TENANT:USER, or the user is the tenant."),
]
Files = Annotated[
    list[str],
    typer.Option(
        "--filename", "-f", help="Manifests: a file, a folder, or - for standard input. Repeatable."
    ),
]


class Output(StrEnum):
    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"
    NAME = "name"


class Document(StrEnum):
    JSON = "json"
    YAML = "yaml"


def open_target(state: Path | None, context: str | None, url: str | None = None) -> Target:
    """The target, named on stderr so that nobody acts on another one than they think."""
    target = choose(state, context, url)
    print(f"target: {target.title}", file=sys.stderr)
    return target
