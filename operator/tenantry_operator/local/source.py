"""What is in the state directory, told to the reconciler: the part of the API server's watches."""

from __future__ import annotations

import logging

import msgspec
import watchfiles

from tenantry_core.resources import PredictorPool, TenantModel, from_manifest
from tenantry_core.snapshot import SnapshotError, SnapshotFolder, Stamp, stamp
from tenantry_operator.definitions import definitions
from tenantry_operator.local.directory import StateDirectory, StateError
from tenantry_operator.local.store import STORED, ObjectName, ResourceStore
from tenantry_operator.reconciling.state import ObservedState

logger = logging.getLogger(__name__)

_NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Kubernetes puts it on every namespace, so that a selector can name one."""
_SETTLE_MILLISECONDS = 20
_RESCAN_MILLISECONDS = 2_000
"""How often to look even if no file event rings: events may be lost."""


class DirectorySource:
    """Compares the resources with those it saw before, whenever a file event rings.

    An event only says that it is time to look, so lost or doubled ones do no harm.
    """

    def __init__(self, directory: StateDirectory, state: ObservedState) -> None:
        self._directory = directory
        self._store = ResourceStore(directory)
        self._state = state
        self._seen: dict[ObjectName, Stamp] = {}
        self._namespaces: set[str] = set()

    async def run(self) -> None:
        """Watch until cancelled; the first look completes the state."""
        self._put_slices()
        self.look()
        self._state.set_complete()
        events = watchfiles.awatch(
            self._directory.resources,
            debounce=10 * _SETTLE_MILLISECONDS,
            step=_SETTLE_MILLISECONDS,
            rust_timeout=_RESCAN_MILLISECONDS,
            yield_on_timeout=True,
        )
        async for _ in events:
            self.look()

    def look(self) -> None:
        """Tell the state what came, changed or went since the last look."""
        names = (name for kind in STORED for name in self._store.names(definitions()[kind]))
        there = {name: stamp for name in names if (stamp := self._stamp(name)) is not None}
        self._tell_namespaces({name.namespace for name in there if name.kind.namespaced})
        for name in self._seen.keys() - there.keys():
            self._drop(name)
        for name, stamp in there.items():
            if self._seen.get(name) != stamp:
                self._put(name)
        self._seen = there

    def _put(self, name: ObjectName) -> None:
        try:
            content = self._store.get(name)
            if content is None:
                return  # deleted since it was listed: the next look drops it
            if name.kind.kind == "TenantModel":
                self._state.put_model(from_manifest(content, TenantModel))
            else:
                self._state.put_pool(from_manifest(content, PredictorPool))
        except (StateError, msgspec.ValidationError) as error:
            logger.warning("%s %s is left out: %s", name.kind.kind, name.name, error)
            self._drop(name)

    def _drop(self, name: ObjectName) -> None:
        if name.kind.kind == "TenantModel":
            self._state.drop_model(f"{name.namespace}.{name.name}")
        else:
            self._state.drop_pool(name.name)

    def _tell_namespaces(self, there: set[str]) -> None:
        for namespace in there - self._namespaces:
            self._state.put_namespace_labels(namespace, {_NAMESPACE_LABEL: namespace})
        for namespace in self._namespaces - there:
            self._state.drop_namespace(namespace)
        self._namespaces = there

    def _put_slices(self) -> None:
        """Slices are written by the reconciler alone, so they are read once."""
        folder = SnapshotFolder(self._directory.router)
        for name in folder.slice_names():
            try:
                content = folder.read_slice(name)
            except SnapshotError as error:
                logger.warning("a slice is left out, and written anew: %s", error)
                continue
            if content is not None:
                self._state.put_slice(name, content.entries)

    def _stamp(self, name: ObjectName) -> Stamp | None:
        try:
            return stamp((self._directory.resources / name.file).stat())
        except FileNotFoundError:
            return None
