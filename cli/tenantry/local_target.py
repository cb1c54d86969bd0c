"""A state directory as a target; most of it works whether or not `tenantry up` runs on it."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tenantry.client.answers import Answer
from tenantry.errors import CommandError, ServerError, not_found
from tenantry.http_calls import call_url
from tenantry.target import Applied, EventLine, Manifest
from tenantry_core.resources import API_VERSION, GROUP
from tenantry_core.snapshot import SnapshotError, SnapshotFolder
from tenantry_operator.definitions import Definition, UnknownKind
from tenantry_operator.local.directory import StateDirectory, StateError
from tenantry_operator.local.events import EventLog
from tenantry_operator.local.store import STORED, ObjectName, ResourceStore
from tenantry_operator.validation import InvalidManifest

_FOLLOW_SECONDS = 0.2


class LocalTarget:
    def __init__(self, directory: StateDirectory, url: str | None = None) -> None:
        self.namespace = "default"
        self._directory = directory
        self._store = ResourceStore(directory)
        self._url = url

    @property
    def title(self) -> str:
        up = self._directory.read_up()
        return f"{self._directory.path} ({up['url'] if up else 'not up'})"

    @property
    def models_prefix(self) -> str | None:
        return self._directory.models_prefix

    def apply(self, manifest: Manifest, namespace: str) -> Applied:
        try:
            return Applied(*self._store.apply(manifest, namespace))
        except InvalidManifest as error:
            raise ServerError("Invalid", str(error)) from error
        except (UnknownKind, StateError) as error:
            raise CommandError(str(error)) from error

    def get(self, kind: Definition, name: str, namespace: str) -> Manifest:
        if kind.kind not in STORED:
            found = [content for content in self._slices(kind) if content["metadata"]["name"] == name]
        else:
            object_name = ObjectName(kind, namespace if kind.namespaced else "", name)
            content = self._store.get(object_name) if object_name.valid else None
            found = [] if content is None else [content]
        if not found:
            raise not_found(kind.plural, GROUP, name)
        return found[0]

    def items(self, kind: Definition, namespace: str | None) -> list[Manifest]:
        if kind.kind not in STORED:
            return self._slices(kind) if namespace in (None, self.namespace) else []
        return self._store.list(kind, namespace)

    def delete(self, kind: Definition, name: str, namespace: str) -> None:
        if kind.kind not in STORED:
            raise CommandError(f"{kind.plural} are written by the operator alone, and written again")
        object_name = ObjectName(kind, namespace if kind.namespaced else "", name)
        if not object_name.valid or not self._store.delete(object_name):
            raise not_found(kind.plural, GROUP, name)

    def events(self, content: Manifest) -> list[EventLine]:
        keys = ("type", "reason", "message", "first", "last", "count")
        about = EventLog(self._directory).about(content["metadata"].get("uid", ""))
        return [EventLine(*(event[key] for key in keys)) for event in about]

    def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        return call_url(self._router_url() + path, method, headers, body)

    def roles(self) -> list[str]:
        names = sorted(path.stem for path in self._directory.logs.glob("*.log"))
        return sorted(names, key=lambda name: name not in ("operator", "router"))

    def log(self, role: str, *, tail: int | None, follow: bool) -> Iterator[str]:
        path = self._directory.log(role)
        if role not in self.roles():
            there = ", ".join(self.roles()) or "none yet"
            raise CommandError(f"there is no log of {role} in {self._directory.logs}: there are {there}")
        yield from _lines(path, tail, follow)

    def version(self) -> str:
        answer = self.call("GET", "/v2", {}, None)
        return f"{msgspec.json.decode(answer.body).get('version', 'unknown')} ({self._router_url()})"

    def _router_url(self) -> str:
        if self._url is not None:
            return self._url.rstrip("/")
        up = self._directory.read_up()
        if up is None:
            path = self._directory.path
            raise CommandError(f"nothing runs on {path}: start `tenantry up --state {path}`")
        return str(up["url"])

    def _slices(self, kind: Definition) -> list[Manifest]:
        """The router's folder as the objects that it mirrors."""
        folder = SnapshotFolder(self._directory.router)
        try:
            contents = [(name, folder.read_slice(name)) for name in folder.slice_names()]
        except SnapshotError as error:
            raise CommandError(str(error)) from error
        head: dict[str, Any] = {"apiVersion": API_VERSION, "kind": kind.kind}
        return [
            {
                **head,
                "metadata": {"name": name, "namespace": self.namespace},
                "models": len(content.entries),
                **json.loads(msgspec.json.encode(content)),
            }
            for name, content in contents
            if content is not None
        ]


def _lines(path: Path, tail: int | None, follow: bool) -> Iterator[str]:
    with path.open(errors="replace") as file:
        yield from (line.rstrip("\n") for line in (file if tail is None else deque(file, tail)))
        while follow:
            line = file.readline()
            if line:
                yield line.rstrip("\n")
            else:
                time.sleep(_FOLLOW_SECONDS)
