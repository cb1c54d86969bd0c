"""What there are thousands of: TenantModels and PlacementSlices, read straight into their types.

kopf makes a task, a queue and several copies for every object that it sees. That is a good price for what a
person may react to, and too much for a list of a hundred thousand, so these two have watches of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from tenantry_core.api_watch import Named
from tenantry_core.names import model_key
from tenantry_core.resources import TenantModel
from tenantry_core.slices import Entry
from tenantry_operator.kubernetes.watched import Key
from tenantry_operator.reconciling.state import ObservedState

logger = logging.getLogger(__name__)


class _Version(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    resource_version: str


class _Object(msgspec.Struct):
    metadata: _Version


class _Slice(_Object):
    entries: tuple[Entry, ...] = ()


class ModelSink:
    """A `Sink` for TenantModels. One that does not fit the types is as if it were not there."""

    def __init__(self, state: ObservedState, on_event: Callable[[], None]) -> None:
        self._state = state
        self._on_event = on_event
        self._keys: set[str] = set()

    def read(self, data: bytes) -> TenantModel | None:
        try:
            return msgspec.json.decode(data, type=TenantModel)
        except msgspec.ValidationError as error:  # stored under an older schema, or under none
            name = msgspec.json.decode(data, type=Named).metadata.name
            logger.warning("TenantModel %s is ignored: %s", name, error)
            return None

    def replace(self, objects: Sequence[TenantModel | None]) -> None:
        present = {model.key for model in objects if model is not None}
        for key in self._keys - present:
            self._drop(key)
        for model in objects:
            self.put(model)

    def put(self, item: TenantModel | None) -> None:
        self._on_event()
        if item is not None:
            self._keys.add(item.key)
            self._state.put_model(item)

    def remove(self, name: str, namespace: str) -> None:
        self._on_event()
        self._drop(model_key(namespace, name))

    def _drop(self, key: str) -> None:
        self._keys.discard(key)
        self._state.drop_model(key)


class SliceSink:
    """A `Sink` for PlacementSlices, which also knows the version of each: a write names what it replaces.

    One whose entries do not fit the types counts as empty, so that it is written anew.
    """

    def __init__(self, state: ObservedState, on_event: Callable[[], None]) -> None:
        self._state = state
        self._on_event = on_event
        self.versions: dict[Key, int] = {}
        """Resource versions as seen, by namespace and name."""

    def read(self, data: bytes) -> _Slice:
        try:
            return msgspec.json.decode(data, type=_Slice)
        except msgspec.ValidationError as error:
            metadata = msgspec.json.decode(data, type=_Object).metadata
            logger.warning("what PlacementSlice %s holds is written anew: %s", metadata.name, error)
            return _Slice(metadata)

    def replace(self, objects: Sequence[_Slice]) -> None:
        present = {(item.metadata.namespace, item.metadata.name) for item in objects}
        for namespace, name in self.versions.keys() - present:
            self.remove(name, namespace)
        for item in objects:
            self.put(item)

    def put(self, item: _Slice) -> None:
        self._on_event()
        metadata = item.metadata
        self.versions[metadata.namespace, metadata.name] = int(metadata.resource_version)
        self._state.put_slice(metadata.name, item.entries)

    def remove(self, name: str, namespace: str) -> None:
        self._on_event()
        self.versions.pop((namespace, name), None)
        self._state.drop_slice(name)
