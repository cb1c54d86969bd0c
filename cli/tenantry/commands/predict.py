"""`tenantry predict`: rows in, predictions out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tenantry import router_calls
from tenantry.csv_tables import read_csv
from tenantry.errors import CommandError
from tenantry.options import Context, State, Tenant, Url, open_target


def predict(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    filename: Annotated[
        str,
        typer.Option("--filename", "-f", help="Rows: .json, .csv, or - for JSON on standard input."),
    ],
    tenant: Tenant = None,
    output: Annotated[
        str | None,
        typer.Option(help="Which output of the model, such as probabilities."),
    ] = None,
    state: State = None,
    context: Context = None,
    url: Url = None,
) -> None:
    """Predict for a user; the predictions are printed as JSON, how they came about on stderr.

    \b
    Examples:
      tenantry predict acme -f rows.csv
      tenantry predict acme:42 -f rows.json --output probabilities
      echo '[{"hour": 9, "distance": 1089}]' | tenantry predict acme -f -
    """
    body = _rows(filename)
    target = open_target(state, context, url)
    answer = router_calls.predict(target, user, tenant, body, output)
    route = answer.headers.get("tenantry-route")
    if route:
        print(f"route: {route}", file=sys.stderr)
    print(answer.body.decode())


def _rows(filename: str) -> bytes:
    """The request's body. Raises CommandError for a file that cannot be read."""
    if filename == "-":
        return sys.stdin.buffer.read()
    path = Path(filename)
    try:
        return _records(path) if path.suffix == ".csv" else path.read_bytes()
    except FileNotFoundError as error:
        raise CommandError(f'the path "{path}" does not exist') from error
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error


def _records(path: Path) -> bytes:
    """A table with a line of headings; an empty cell is null."""
    from tenantry.client import tables  # half a second for pandas that only a CSV file is worth

    return tables.encode(read_csv(path))
