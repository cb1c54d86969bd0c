"""`describe`: everything an object says, and the events about it, as kubectl lays it out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tenantry.ages import age
from tenantry.tables import render
from tenantry.target import EventLine, Manifest

_VALUE_COLUMN = 14
_LEFT_OUT = frozenset({"managedFields", "name", "namespace", "labels", "annotations"})


def describe(content: Manifest, events: Sequence[EventLine]) -> str:
    metadata = content["metadata"]
    lines = [
        _field("Name", metadata["name"]),
        _field("Namespace", metadata.get("namespace", "")),
        *_pairs("Labels", metadata.get("labels") or {}),
        *_pairs("Annotations", metadata.get("annotations") or {}),
        _field("API Version", content["apiVersion"]),
        _field("Kind", content["kind"]),
        "Metadata:",
        *_members({key: value for key, value in metadata.items() if key not in _LEFT_OUT}, 1),
    ]
    rest = {k: v for k, v in content.items() if k not in ("apiVersion", "kind", "metadata")}
    return "\n".join([*lines, *_members(rest, 0), *_events(events)]) + "\n"


def _field(label: str, value: object) -> str:
    return f"{label + ':':<{_VALUE_COLUMN}}{value}".rstrip()


def _pairs(label: str, pairs: dict[str, str]) -> list[str]:
    lines = [f"{key}={value}" for key, value in sorted(pairs.items())] or ["<none>"]
    return [_field(label, lines[0]), *(" " * _VALUE_COLUMN + line for line in lines[1:])]


def _members(members: dict[str, Any], depth: int) -> Iterator[str]:
    """Plain values in one column, nested ones below their label, two spaces deeper."""
    plain = [_label(key) for key, value in members.items() if not isinstance(value, dict | list)]
    width = max((len(label) for label in plain), default=0) + 3
    for key, value in sorted(members.items()):
        yield from _member(_label(key), value, depth, width)


def _member(label: str, value: Any, depth: int, width: int) -> Iterator[str]:
    indent = "  " * depth
    if isinstance(value, dict):
        yield f"{indent}{label}:"
        yield from _members(value, depth + 1)
    elif isinstance(value, list):
        yield f"{indent}{label}:"
        for item in value:
            if isinstance(item, dict):
                yield from _members(item, depth + 1)
            else:
                yield f"{indent}  {item}"
    else:
        yield f"{indent}{label + ':':<{width}}{value}".rstrip()


def _label(key: str) -> str:
    """`observedGeneration` as `Observed Generation`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", key)
    return words[:1].upper() + words[1:]


def _events(events: Sequence[EventLine]) -> list[str]:
    if not events:
        return [_field("Events", "<none>")]
    rows = [(e.type, e.reason, _when(e), e.message) for e in events]
    table = render(("Type", "Reason", "Age", "Message"), rows)
    return ["Events:", *(f"  {line}" for line in table.splitlines())]


def _when(event: EventLine) -> str:
    if event.count > 1:
        return f"{age(event.last)} (x{event.count} over {age(event.first)})"
    return age(event.last)
