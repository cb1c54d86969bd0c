"""`tenantry get`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import Annotated

import typer

from tenantry import documents, names, tables
from tenantry.errors import ServerError
from tenantry.options import AllNamespaces, Context, Namespace, Output, State, open_target
from tenantry.target import Manifest, Target
from tenantry_core.resources import GROUP
from tenantry_operator.definitions import definitions

Resources = Annotated[
    list[str] | None, typer.Argument(help="KIND, KIND NAME..., or KIND/NAME...; tm, pp and ps are short.")
]


def get(
    resources: Resources = None,
    output: Annotated[Output | None, typer.Option("--output", "-o", help="How to print.")] = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    state: State = None,
    context: Context = None,
) -> None:
    """List resources, or show some.

    \b
    Examples:
      tenantry get tm
      tenantry get tenantmodel acme -o yaml
      tenantry get tm/acme pp/default
      tenantry get tm,pp -A -o wide
    """
    wanted = names.parse(resources or [])
    target = open_target(state, context)
    where = None if all_namespaces else namespace or target.namespace
    found, errors = _found(target, wanted, where)
    single = len(wanted) == 1 and bool(wanted[0].name)
    kinds = {one.kind.kind for one in wanted}
    if found or output in (Output.JSON, Output.YAML):
        sys.stdout.write(_rendered(found, output, single, all_namespaces, prefixed=len(kinds) > 1))
    elif not errors:
        place = f"in {where} namespace" if where and wanted[0].kind.namespaced else ""
        print(f"No resources found {place}".rstrip() + ("." if place else ""), file=sys.stderr)
    for error in errors:
        print(error, file=sys.stderr)
    if errors:
        raise typer.Exit(1)


def _found(
    target: Target, wanted: Sequence[names.Wanted], where: str | None
) -> tuple[list[Manifest], list[ServerError]]:
    """What is there, and what was asked for by name and is not."""
    found: list[Manifest] = []
    errors: list[ServerError] = []
    for one in wanted:
        if not one.name:
            found += target.items(one.kind, where)
            continue
        try:
            found.append(target.get(one.kind, one.name, where or target.namespace))
        except ServerError as error:
            errors.append(error)
    return found, errors


def _rendered(
    found: Sequence[Manifest], output: Output | None, single: bool, namespaces: bool, prefixed: bool
) -> str:
    match output:
        case Output.JSON:
            return documents.as_json(found[0] if single and found else documents.listed(found))
        case Output.YAML:
            return documents.as_yaml(found[0] if single and found else documents.listed(found))
        case Output.NAME:
            return "".join(f"{c['kind'].lower()}.{GROUP}/{c['metadata']['name']}\n" for c in found)
    parts = [
        tables.resources(
            definitions()[kind],
            list(contents),
            wide=output is Output.WIDE,
            namespaces=namespaces,
            prefixed=prefixed,
        )
        for kind, contents in groupby(found, key=lambda content: str(content["kind"]))
    ]
    return "\n".join(parts)
