"""`tenantry delete`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import typer

from tenantry import manifests, names
from tenantry.commands.apply import namespace_of
from tenantry.commands.get import Resources
from tenantry.errors import CommandError, ServerError
from tenantry.options import Context, Namespace, State, open_target
from tenantry.target import Target
from tenantry_core.resources import GROUP
from tenantry_operator.definitions import Definition, UnknownKind, definition_of


class _Victim(NamedTuple):
    kind: Definition
    name: str
    namespace: str


def delete(
    resources: Resources = None,
    filename: Annotated[
        list[str] | None, typer.Option("--filename", "-f", help="Delete what these manifests name.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all of the kind.")] = False,
    ignore_not_found: Annotated[
        bool, typer.Option("--ignore-not-found", help="What is not there is no error.")
    ] = False,
    namespace: Namespace = None,
    state: State = None,
    context: Context = None,
) -> None:
    """Delete resources. A model that is deleted is served no more at once.

    \b
    Examples:
      tenantry delete tm acme
      tenantry delete -f models/
      tenantry delete tm --all -n shop
    """
    wanted = names.parse(resources or []) if not filename else []
    if filename and resources:
        raise CommandError("name resources either with -f or by their kind and name, not both")
    target = open_target(state, context)
    failed = False
    for victim in _victims(target, wanted, filename or [], namespace, everything):
        try:
            target.delete(*victim)
        except ServerError as error:
            if error.reason == "NotFound" and ignore_not_found:
                continue
            failed = True
            print(error, file=sys.stderr)
        else:
            print(f'{victim.kind.singular}.{GROUP} "{victim.name}" deleted', flush=True)
    if failed:
        raise typer.Exit(1)


def _victims(
    target: Target,
    wanted: Sequence[names.Wanted],
    files: list[str],
    namespace: str | None,
    everything: bool,
) -> Iterator[_Victim]:
    for document in manifests.read(files):
        if isinstance(document.content, CommandError):
            raise document.content
        try:
            kind = definition_of(document.content)
        except UnknownKind as error:
            raise CommandError(str(error)) from error
        name = (document.content.get("metadata") or {}).get("name", "")
        yield _Victim(kind, str(name), namespace_of(document.content, namespace, target))
    where = namespace or target.namespace
    for one in wanted:
        if one.name:
            yield _Victim(one.kind, one.name, where)
        elif everything:
            for content in target.items(one.kind, where):
                yield _Victim(one.kind, content["metadata"]["name"], where)
        else:
            raise CommandError(f"say which {one.kind.plural} to delete, or --all")
