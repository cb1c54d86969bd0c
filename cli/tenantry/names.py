"""Which resources a person means: `tm`, `tm acme`, `tenantmodel/acme`, `tm,pp`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenantry.errors import CommandError
from tenantry_core.resources import GROUP
from tenantry_operator.definitions import Definition, definitions


@dataclass(frozen=True, slots=True)
class Wanted:
    kind: Definition
    name: str = ""
    """Empty: all of the kind."""


def parse(arguments: Sequence[str]) -> list[Wanted]:
    """Raises CommandError for a kind that is none, and for a mixture of both ways to write."""
    if not arguments:
        kinds = ", ".join(sorted(definition.plural for definition in definitions().values()))
        raise CommandError(f"say which kind of resource: one of {kinds}")
    if any("/" in argument for argument in arguments):
        return [_slashed(argument) for argument in arguments]
    kinds_named = [_kind(name) for name in arguments[0].split(",")]
    names = arguments[1:]
    if not names:
        return [Wanted(kind) for kind in kinds_named]
    return [Wanted(kind, name) for kind in kinds_named for name in names]


def _slashed(argument: str) -> Wanted:
    kind, slash, name = argument.partition("/")
    if not slash or not name or "/" in name:
        raise CommandError(f"{argument!r} is not KIND/NAME: write all of them so, or one KIND and then names")
    return Wanted(_kind(kind), name)


def _kind(name: str) -> Definition:
    bare = name.removesuffix(f".{GROUP}")
    for definition in definitions().values():
        if definition.answers_to(bare):
            return definition
    known = ", ".join(sorted(definition.plural for definition in definitions().values()))
    raise CommandError(f'there is no resource type "{name}": there are {known}')
