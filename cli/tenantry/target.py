"""What a command acts on: a cluster, or a state directory on this machine. Both answer alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tenantry.client.answers import Answer
from tenantry_operator.definitions import Definition

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Applied:
    outcome: str
    """`created`, `configured` or `unchanged`."""
    content: Manifest


@dataclass(frozen=True, slots=True)
class EventLine:
    """One Event as `describe` shows it; times are RFC 3339."""

    type: str
    reason: str
    message: str
    first: str
    last: str
    count: int


class Target(Protocol):
    """Each call raises ServerError where the other side refuses, CommandError where it cannot be reached."""

    @property
    def title(self) -> str:
        """Which target it is, for people."""
        ...

    @property
    def namespace(self) -> str:
        """The namespace of who names none."""
        ...

    @property
    def models_prefix(self) -> str | None:
        """Where `publish` puts artifacts unless told otherwise; None where that must be told."""
        ...

    def apply(self, manifest: Manifest, namespace: str) -> Applied: ...

    def get(self, kind: Definition, name: str, namespace: str) -> Manifest: ...

    def items(self, kind: Definition, namespace: str | None) -> list[Manifest]:
        """Sorted by namespace and name; `namespace` None means all."""
        ...

    def delete(self, kind: Definition, name: str, namespace: str) -> None: ...

    def events(self, content: Manifest) -> list[EventLine]:
        """Events about an object, oldest first."""
        ...

    def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """One request to the router."""
        ...

    def roles(self) -> list[str]:
        """The parts that have a log: `operator`, `router` and the slots' names."""
        ...

    def log(self, role: str, *, tail: int | None, follow: bool) -> Iterator[str]:
        """Lines of a part's log, without their ends; with `follow` it goes on until interrupted."""
        ...

    def version(self) -> str:
        """Which version runs there, and where; a sentence if none does."""
        ...
