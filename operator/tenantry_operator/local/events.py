"""What happened, newest last, in one bounded file: the part of the API server's Events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tenantry_operator.local.directory import StateDirectory, write_atomically
from tenantry_operator.planning.plan import Event

_MOST_BYTES = 1024 * 1024
"""Beyond it the older half goes."""


class EventLog:
    """One writer, the operator; any number of readers."""

    def __init__(self, directory: StateDirectory) -> None:
        self._path = directory.events

    def record(self, event: Event) -> None:
        line = {
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "type": event.type,
            "reason": event.reason,
            "message": event.message,
            "kind": event.kind,
            "namespace": event.namespace,
            "name": event.name,
            "uid": event.uid,
        }
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            size = file.tell()
        if size > _MOST_BYTES:
            lines = self._path.read_bytes().splitlines(keepends=True)
            write_atomically(self._path, b"".join(lines[len(lines) // 2 :]))

    def about(self, uid: str) -> list[dict[str, Any]]:
        """Events of one object, oldest first. Repeated ones are one, with `count`, `first` and `last`."""
        merged: dict[tuple[str, str], dict[str, Any]] = {}
        for line in self._lines():
            if line["uid"] != uid:
                continue
            key = (line["reason"], line["message"])
            event = merged.pop(key, None) or {**line, "first": line["time"], "count": 0}
            merged[key] = {**event, "last": line["time"], "count": event["count"] + 1}
        return list(merged.values())

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        for text in self._path.read_text().splitlines():
            try:
                yield json.loads(text)
            except ValueError:
                continue  # cut short by a crash while it was written
