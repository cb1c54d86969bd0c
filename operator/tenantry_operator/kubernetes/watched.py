"""One watched kind: what was seen of each object, in the order in which it came to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str]
"""Namespace (empty for what is in none) and name."""


@dataclass(slots=True)
class Watched:
    """Guards a sink against events that come late, twice or never.

    Events of one object arrive in order, those of an object and of its successor under the same name may
    not; a watch that had to start afresh never tells what was deleted meanwhile. Resource versions decide:
    since Kubernetes 1.35 they are comparable by contract, and with etcd they always were.
    """

    collection: str
    """Path of the collection in the API."""
    put: Callable[[dict[str, Any]], None]
    drop: Callable[[Key], None]
    label_selector: str = ""
    versions: dict[Key, int] = field(default_factory=dict)

    def observe(self, manifest: dict[str, Any], *, deleted: bool = False) -> None:
        metadata = manifest["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        version = int(metadata["resourceVersion"])
        if version < self.versions.get(key, 0):
            return
        if deleted:
            self._forget(key)
        else:
            self.versions[key] = version
            self.put(manifest)

    def compare(self, listed: Mapping[Key, int], at: int) -> bool:
        """Whether a listing of version `at` shows nothing that was not observed. Drops what it shows gone."""
        for key, version in list(self.versions.items()):
            if key not in listed and version <= at:
                self._forget(key)
        return all(self.versions.get(key, 0) >= version for key, version in listed.items())

    def _forget(self, key: Key) -> None:
        if self.versions.pop(key, None) is not None:
            self.drop(key)
