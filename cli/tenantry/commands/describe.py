"""`tenantry describe`."""

from __future__ import annotations

import sys

from tenantry import names
from tenantry.commands.get import Resources
from tenantry.describing import describe as described
from tenantry.errors import CommandError
from tenantry.options import AllNamespaces, Context, Namespace, State, open_target


def describe(
    resources: Resources = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    state: State = None,
    context: Context = None,
) -> None:
    """Show everything about resources: what was asked for, what serves, and what happened.

    \b
    Examples:
      tenantry describe tm acme
      tenantry describe pp/default
    """
    wanted = names.parse(resources or [])
    target = open_target(state, context)
    where = None if all_namespaces else namespace or target.namespace
    contents = []
    for one in wanted:
        if one.name:
            contents.append(target.get(one.kind, one.name, where or target.namespace))
        else:
            contents += target.items(one.kind, where)
    if not contents:
        raise CommandError(f"there are none in {where or 'any'} namespace")
    sys.stdout.write("\n\n".join(described(content, target.events(content)) for content in contents))
