"""What the feeder writes: PlacementSlices as files of the same name, EndpointSlices as one address book."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from tenantry_core.api_watch import Named
from tenantry_core.resources import POOL_LABEL
from tenantry_core.slices import SliceContent
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotError, SnapshotFolder, SourceState
from tenantry_router.fleet import PREDICTOR_PORT

logger = logging.getLogger(__name__)


class SliceMirror:
    """A `Sink` for PlacementSlices. One that cannot be read leaves its last good file in place."""

    def __init__(self, folder: SnapshotFolder) -> None:
        self._folder = folder

    def read(self, data: bytes) -> bytes:
        return data

    def replace(self, objects: Sequence[bytes]) -> None:
        for data in objects:  # before deletions: a model may have moved to another slice
            self.put(data)
        for gone in set(self._folder.slice_names()) - {_name(data) for data in objects}:
            self.remove(gone)

    def put(self, data: bytes) -> None:
        name = _name(data)
        try:
            content = msgspec.json.decode(data, type=SliceContent)
        except msgspec.DecodeError as error:
            logger.error("PlacementSlice %s cannot be read and is ignored: %s", name, error)
            return
        if content != self._written(name):
            self._folder.write_slice(name, content)

    def remove(self, name: str, namespace: str = "") -> None:
        self._folder.delete_slice(name)

    def _written(self, name: str) -> SliceContent | None:
        try:
            return self._folder.read_slice(name)
        except SnapshotError:
            return None


class _Conditions(msgspec.Struct):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None

    @property
    def stays(self) -> bool:
        """It answers, and will."""
        return self.ready is not False and not self.terminating

    @property
    def answers(self) -> bool:
        """A pod that ends still does for a while, warm: until its successor is ready nobody does better."""
        return self.stays or (bool(self.terminating) and self.serving is not False)


class _Endpoint(msgspec.Struct):
    addresses: list[str]
    hostname: str = ""
    conditions: _Conditions = msgspec.field(default_factory=_Conditions)


class _Port(msgspec.Struct):
    name: str | None = None
    port: int | None = None


class _Labels(msgspec.Struct):
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class _EndpointSlice(msgspec.Struct, rename="camel"):
    metadata: _Labels
    address_type: str = "IPv4"
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class AddressMirror:
    """A `Sink` for EndpointSlices of pools' headless Services. One that cannot be read stays as it was."""

    def __init__(self, folder: SnapshotFolder) -> None:
        self._folder = folder
        self._slices: dict[str, _EndpointSlice] = {}
        try:
            self._book = folder.read_addresses()
        except SnapshotError:
            self._book = AddressBook()

    def read(self, data: bytes) -> bytes:
        return data

    def replace(self, objects: Sequence[bytes]) -> None:
        present = {_name(data) for data in objects}
        self._slices = {name: item for name, item in self._slices.items() if name in present}
        for data in objects:
            self._read(data)
        self._write()

    def put(self, data: bytes) -> None:
        self._read(data)
        self._write()

    def remove(self, name: str, namespace: str = "") -> None:
        self._slices.pop(name, None)
        self._write()

    def _read(self, data: bytes) -> None:
        name = _name(data)
        try:
            self._slices[name] = msgspec.json.decode(data, type=_EndpointSlice)
        except msgspec.DecodeError as error:
            logger.error("EndpointSlice %s cannot be read and is ignored: %s", name, error)

    def _write(self) -> None:
        book = address_book(self._slices.values(), self._book)
        if book != self._book:
            self._folder.write_addresses(book)
            self._book = book


def address_book(slices: Iterable[_EndpointSlice], known: AddressBook) -> AddressBook:
    """One address a slot: while its pod is replaced the ready one, and of equals the one in `known`."""
    present = {(address.slot, address.host) for address in known.slots}
    best: dict[str, tuple[tuple[bool, ...], SlotAddress]] = {}
    for item in slices:
        for endpoint, address in _addresses(item):
            fitness = (
                endpoint.conditions.stays,
                endpoint.conditions.answers,
                item.address_type == "IPv4",
                (address.slot, address.host) in present,
            )
            if address.slot not in best or fitness > best[address.slot][0]:
                best[address.slot] = (fitness, address)
    return AddressBook(tuple(best[slot][1] for slot in sorted(best)))


def _addresses(item: _EndpointSlice) -> Iterator[tuple[_Endpoint, SlotAddress]]:
    pool = item.metadata.labels.get(POOL_LABEL)
    ports = {port.name: port.port for port in item.ports or () if port.name and port.port}
    if not pool or PREDICTOR_PORT not in ports or item.address_type == "FQDN":
        return
    for endpoint in item.endpoints or ():
        if endpoint.hostname and endpoint.addresses:
            ready = endpoint.conditions.answers
            yield endpoint, SlotAddress(endpoint.hostname, pool, endpoint.addresses[0], ports, ready)


class Contact:
    """Tells the folder's readers whether the feeder is in touch with the API server."""

    def __init__(self, folder: SnapshotFolder, parties: int) -> None:
        """All of `parties` watches must stand for the folder to count as connected."""
        self._folder = folder
        self._standing: dict[int, bool] = dict.fromkeys(range(parties), False)
        self._connected = False
        self._write()

    def report(self, party: int, standing: bool) -> None:
        """Watch number `party` stands, or has failed."""
        self._standing[party] = standing
        connected = all(self._standing.values())
        if connected is not self._connected:
            self._connected = connected
            self._write()
            logger.info("the API server is %s", "back in touch" if connected else "out of touch")

    def _write(self) -> None:
        self._folder.write_source(SourceState("kubernetes", self._connected, time.time()))


def _name(data: bytes) -> str:
    return msgspec.json.decode(data, type=Named).metadata.name
