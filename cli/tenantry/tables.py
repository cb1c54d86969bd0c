"""Tables in kubectl's manner: no borders, three spaces between columns."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenantry import jsonpath
from tenantry.ages import age
from tenantry.target import Manifest
from tenantry_core.resources import GROUP
from tenantry_operator.definitions import Definition

_WIDE_ENOUGH = 100_000
"""Nothing is wrapped or cut: a terminal may scroll, and a program wants whole lines."""


def render(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The table as lines, without trailing spaces."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    output = io.StringIO()
    Console(file=output, width=_WIDE_ENOUGH, color_system=None).print(table)
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())


def resources(
    kind: Definition, contents: Sequence[Manifest], *, wide: bool, namespaces: bool, prefixed: bool
) -> str:
    """The columns that the CustomResourceDefinition asks for; `wide` shows those of priority 1 too.

    `prefixed` puts the kind before the name, as where several kinds are listed.
    """
    columns = [column for column in kind.columns if wide or not column.get("priority")]
    lead = ["namespace"] if namespaces and kind.namespaced else []
    headings = [heading.upper() for heading in (*lead, "name", *(column["name"] for column in columns))]
    rows = []
    for content in contents:
        metadata = content["metadata"]
        name = f"{kind.singular}.{GROUP}/{metadata['name']}" if prefixed else metadata["name"]
        first = [metadata.get("namespace", "")] if lead else []
        rows.append([*first, name, *(_cell(column, content) for column in columns)])
    return render(headings, rows)


def _cell(column: dict[str, Any], content: Manifest) -> str:
    """Empty where the object does not say, as kubectl prints it."""
    found = jsonpath.find(column["jsonPath"], content)
    if column["type"] == "date":
        return age(str(found[0]) if found else "")
    return " ".join(value if isinstance(value, str) else json.dumps(value) for value in found)
