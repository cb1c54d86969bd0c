"""`tenantry apply`."""

from __future__ import annotations

import sys
from typing import Any

import typer

from tenantry import manifests
from tenantry.errors import CommandError
from tenantry.options import Context, Files, Namespace, State, open_target
from tenantry.target import Manifest, Target
from tenantry_core.resources import GROUP


def apply(filename: Files, namespace: Namespace = None, state: State = None, context: Context = None) -> None:
    """Create resources, or change them to what the manifests say.

    A document that is refused is reported, and the others are applied all the same.

    \b
    Examples:
      tenantry apply -f acme.yaml
      tenantry apply -f models/ -n shop
      cat acme.yaml | tenantry apply -f -
    """
    documents = manifests.read(filename)
    target = open_target(state, context)
    failed = found = 0
    for document in documents:
        found += 1
        try:
            print(_applied(target, document.content, namespace), flush=True)
        except CommandError as error:
            failed += 1
            print(error, file=sys.stderr)
    if not found:
        raise CommandError("no objects passed to apply")
    if failed:
        raise typer.Exit(1)


def _applied(target: Target, content: Manifest | CommandError, namespace: str | None) -> str:
    if isinstance(content, CommandError):
        raise content
    applied = target.apply(content, namespace_of(content, namespace, target))
    kind, name = applied.content["kind"], applied.content["metadata"]["name"]
    return f"{kind.lower()}.{GROUP}/{name} {applied.outcome}"


def namespace_of(content: Manifest, asked: str | None, target: Target) -> str:
    """The manifest's own namespace, else `--namespace`, else the target's; never two that differ."""
    metadata: Any = content.get("metadata")
    own = metadata.get("namespace") if isinstance(metadata, dict) else None
    if own and asked and own != asked:
        raise CommandError(
            f'the namespace from the provided object "{own}" does not match the namespace "{asked}": '
            f"pass --namespace={own}"
        )
    return str(own or asked or target.namespace)
