"""What was applied and what became of it: the part of etcd and the API server, in plain files.

    resources/tenantmodels/<namespace>/<name>.json    metadata and spec: written by whoever applies
    resources/predictorpools/<name>.json
    status/... (the same names)                       status: written by the operator alone

An object has the API server's uid, generation (counts changes of spec), creationTimestamp and
resourceVersion. It works whether or not `tenantry up` runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tenantry_core.names import LABEL_PATTERN
from tenantry_core.resources import API_VERSION
from tenantry_operator.definitions import Definition, UnknownKind, definition_of
from tenantry_operator.local.directory import StateDirectory, StateError, write_atomically
from tenantry_operator.validation import admit

Manifest = dict[str, Any]
Outcome = Literal["created", "configured", "unchanged"]

_LABEL = re.compile(LABEL_PATTERN)


STORED = ("TenantModel", "PredictorPool")
"""The kinds that are applied. PlacementSlices are what the operator writes, into the router's folder."""


@dataclass(frozen=True, slots=True)
class ObjectName:
    """Which object: its kind, its namespace (empty for a kind without) and its name."""

    kind: Definition = field(hash=False)
    namespace: str
    name: str

    @property
    def valid(self) -> bool:
        """Whether an object can be called so. No other name ever becomes part of a path."""
        parts = (self.namespace, self.name) if self.kind.namespaced else (self.name,)
        return all(_LABEL.fullmatch(part) for part in parts)

    @property
    def file(self) -> Path:
        """Below `resources` and `status`. Raises StateError for a name that is not valid."""
        if not self.valid:
            raise StateError(
                f"{self.namespace}/{self.name} cannot be a name: use lower-case letters, digits and '-'"
            )
        return Path(self.kind.plural, self.namespace, f"{self.name}.json")


class ResourceStore:
    """Objects by name; any number of processes may use it at a time."""

    def __init__(self, directory: StateDirectory) -> None:
        self.directory = directory

    def apply(self, manifest: Manifest, namespace: str) -> tuple[Outcome, Manifest]:
        """Make the object be what the manifest says: what it leaves out, and held before, goes.

        Its status is ignored, as by the API server; `namespace` is for a kind that has one. Raises
        UnknownKind and InvalidManifest.
        """
        kind = definition_of(manifest)
        if kind.kind not in STORED:
            raise UnknownKind(f"a {kind.kind} is written by the operator alone: apply {' or '.join(STORED)}")
        with self._writing():
            name = ObjectName(kind, namespace if kind.namespaced else "", _given_name(manifest))
            old = self.get(name) if name.valid else None
            new = _successor(name, admit(manifest, old), old)
            if old is not None and _applied_part(new) == _applied_part(old):
                return "unchanged", old
            self._write(self.directory.resources / name.file, new)
        return ("created" if old is None else "configured"), self._with_status(name, new)

    def delete(self, name: ObjectName) -> bool:
        """Whether it was there."""
        with self._writing():
            path = self.directory.resources / name.file
            there = path.exists()
            path.unlink(missing_ok=True)
            (self.directory.status / name.file).unlink(missing_ok=True)
        return there

    def get(self, name: ObjectName) -> Manifest | None:
        """The whole object with its status, or None."""
        content = _read(self.directory.resources / name.file)
        return None if content is None else self._with_status(name, content)

    def names(self, kind: Definition, namespace: str | None = None) -> list[ObjectName]:
        """Names of all objects of a kind, sorted; `namespace` None means all."""
        folder = self.directory.resources / kind.plural
        if not kind.namespaced:
            return [ObjectName(kind, "", f.stem) for f in _json_files(folder)]
        if namespace is None:
            spaces = sorted(f.name for f in folder.iterdir() if f.is_dir()) if folder.is_dir() else []
        else:
            spaces = [namespace] if _LABEL.fullmatch(namespace) else []
        return [ObjectName(kind, space, f.stem) for space in spaces for f in _json_files(folder / space)]

    def list(self, kind: Definition, namespace: str | None = None) -> list[Manifest]:
        found = (self.get(name) for name in self.names(kind, namespace))
        return [content for content in found if content is not None]

    def write_status(self, name: ObjectName, uid: str, status: Manifest) -> None:
        """Record what became of the object of that uid; it is not shown on a later one of the same name."""
        content = {"uid": uid, "resourceVersion": _next_version(), "status": status}
        write_atomically(self.directory.status / name.file, json.dumps(content).encode())

    def _with_status(self, name: ObjectName, content: Manifest) -> Manifest:
        written = _read(self.directory.status / name.file)
        metadata = content["metadata"]
        if written is None or written["uid"] != metadata["uid"]:
            return content
        version = max(metadata["resourceVersion"], written["resourceVersion"], key=int)
        metadata = {**metadata, "resourceVersion": version}
        return {**content, "metadata": metadata, "status": written["status"]}

    def _write(self, path: Path, content: Manifest) -> None:
        stored = {key: value for key, value in content.items() if key != "status"}
        write_atomically(path, json.dumps(stored, indent=2).encode())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer of resources at a time, over all processes."""
        self.directory.create()
        with (self.directory.resources / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _given_name(manifest: Manifest) -> str:
    metadata = manifest.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def _successor(name: ObjectName, manifest: Manifest, old: Manifest | None) -> Manifest:
    given = manifest.get("metadata", {})
    kept = old["metadata"] if old else {}
    generation = kept.get("generation", 0)
    if old is None or old["spec"] != manifest["spec"]:
        generation += 1
    metadata: Manifest = {"name": name.name}
    if name.kind.namespaced:
        metadata["namespace"] = name.namespace
    metadata |= {
        "uid": kept.get("uid") or str(uuid.uuid4()),
        "generation": generation,
        "creationTimestamp": kept.get("creationTimestamp") or _now(),
        "resourceVersion": _next_version(),
    }
    metadata |= {key: dict(given[key]) for key in ("labels", "annotations") if given.get(key)}
    return {
        "apiVersion": API_VERSION,
        "kind": name.kind.kind,
        "metadata": metadata,
        "spec": manifest["spec"],
    }


def _applied_part(content: Manifest) -> tuple[Any, ...]:
    metadata = content["metadata"]
    return content["spec"], metadata.get("labels"), metadata.get("annotations")


def _next_version() -> str:
    """Grows with every write, over all processes, without a counter that they would have to share."""
    return str(time.time_ns())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.suffix == ".json" and not f.name.startswith("."))


def _read(path: Path) -> Manifest | None:
    """Raises StateError when the file was damaged, by hand perhaps: nothing is guessed."""
    try:
        content: Manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StateError(f"{path} cannot be read ({error}): mend it or delete it") from error
    return content
