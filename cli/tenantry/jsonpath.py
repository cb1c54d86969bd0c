"""The part of Kubernetes' JSONPath that printer columns use: fields, `[*]`, `[0]`, `[?(@.type=="Ready")]`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

_STEP = re.compile(
    r"""\.(?P<field>[A-Za-z_][A-Za-z0-9_-]*)
      | \['(?P<quoted>[^']+)'\]
      | \[(?P<index>\d+)\]
      | \[(?P<all>\*)\]
      | \[\?\(@\.(?P<key>[A-Za-z0-9_]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]""",
    re.VERBOSE,
)


class _Step(NamedTuple):
    kind: str
    operand: str
    value: str = ""


def find(path: str, content: Any) -> list[Any]:
    """Every value that the path leads to; none where something on the way is missing.

    Raises ValueError for a path that uses more of JSONPath.
    """
    found = [content]
    for step in _steps(path):
        found = list(_follow(step, found))
    return found


@cache
def _steps(path: str) -> tuple[_Step, ...]:
    steps, position = [], 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise ValueError(f"{path!r} is not understood from {path[position:]!r} on")
        steps.append(_Step(str(match.lastgroup), match[str(match.lastgroup)], match["value"] or ""))
        if match["key"]:
            steps[-1] = _Step("key", match["key"], match["value"])
        position = match.end()
    return tuple(steps)


def _follow(step: _Step, values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if step.kind in ("field", "quoted"):
            if isinstance(value, dict) and step.operand in value:
                yield value[step.operand]
        elif not isinstance(value, list):
            continue
        elif step.kind == "all":
            yield from value
        elif step.kind == "index":
            yield from value[int(step.operand) : int(step.operand) + 1]
        else:
            yield from (item for item in value if _matches(item, step))


def _matches(item: Any, step: _Step) -> bool:
    return isinstance(item, dict) and item.get(step.operand) == step.value
