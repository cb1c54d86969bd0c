"""What a command acts on: a cluster, or a state directory on this machine. Both answer alike."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tenantry.errors import CommandError
from tenantry.running import running_directories
from tenantry_operator.definitions import Definition
from tenantry_operator.local.directory import StateDirectory

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


@dataclass(frozen=True, slots=True)
class Answer:
    """What the router answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


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


def choose(state: Path | None, context: str | None, url: str | None) -> Target:
    """`--state`, else `--context`, else a `tenantry up` that runs, else the kubeconfig.

    Raises CommandError when there is nothing to talk to, or more than one `up` runs.
    """
    # Each side's libraries take a while to import; only one is needed.
    if state is None and context is None:
        state = _running_state()
    if state is not None:
        from tenantry.local_target import LocalTarget

        return LocalTarget(StateDirectory(state), url)
    if context is None and not _has_kubeconfig():
        raise CommandError(
            "there is nothing to talk to: start `tenantry up`, or name a state directory with --state, "
            "or set KUBECONFIG"
        )
    from tenantry.cluster_target import ClusterTarget

    return ClusterTarget(context, url)


def _running_state() -> Path | None:
    running = running_directories()
    if len(running) > 1:
        paths = ", ".join(str(directory.path) for directory in running)
        raise CommandError(f"more than one `tenantry up` runs ({paths}): choose with --state")
    return running[0].path if running else None


def _has_kubeconfig() -> bool:
    paths = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return any(Path(path).is_file() for path in paths.split(os.pathsep) if path)
