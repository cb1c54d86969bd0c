"""The slots of all predictor pools: where they are, how busy they are, whether they may be chosen."""

from __future__ import annotations

from collections.abc import Callable

from tenantry_core.http.client import Pool
from tenantry_core.snapshot import AddressBook, SlotAddress
from tenantry_router.rendezvous import Ranking

PREDICTOR_PORT = "http"
LATELY = 256
"""Requests sent to a slot after which those before count half: what has been evened out is past."""

Connect = Callable[[SlotAddress], Pool]


class Slot:
    """One slot at one address. When its pod is replaced, so is this object, and its past is forgotten."""

    __slots__ = (
        "address",
        "ejected",
        "ejections",
        "failures",
        "name",
        "out_until",
        "probe_failures",
        "ready",
        "sent",
        "upstream",
    )

    def __init__(self, address: SlotAddress, upstream: Pool) -> None:
        self.name = address.slot
        self.address = address
        self.upstream = upstream
        self.ready = address.ready
        """By the book's word or by its own: `health` asks one that the book calls not ready."""
        self.ejected = False
        """Kept out of rotation; this and what follows is kept by `health`."""
        self.failures = 0
        """Consecutive requests that got no answer."""
        self.probe_failures = 0
        """Consecutive probes that got none."""
        self.ejections = 0
        """How often in a row failing requests have put it out of rotation."""
        self.out_until = 0.0
        """When the last of these ejections ends or ended, in the loop's time."""
        self.sent = 0
        """Requests sent to it lately, for `choose` to even out."""

    @property
    def available(self) -> bool:
        return self.ready and not self.ejected

    @property
    def doubted(self) -> bool:
        """The book says that it is not ready. So it does, too, of pods whose kubelet only is silent."""
        return not self.address.ready

    @property
    def in_flight(self) -> int:
        return self.upstream.in_flight


class SlotPool:
    """The slots of one predictor pool, by name."""

    __slots__ = ("ranking", "slots")

    def __init__(self, slots: dict[str, Slot]) -> None:
        self.slots = slots
        self.ranking = Ranking(tuple(slots))

    def halve_sent(self) -> None:
        """What was sent until now counts half."""
        for slot in self.slots.values():
            slot.sent //= 2


class Fleet:
    """Every slot with an address."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.slots: dict[str, Slot] = {}
        self.pools: dict[str, SlotPool] = {}

    def set_addresses(self, book: AddressBook) -> None:
        """Where the slots are from now on. Requests on their way to what is gone may still finish.

        One that was ready stays so although the book doubts it, until it says so itself or does not answer.
        """
        slots: dict[str, Slot] = {}
        for address in book.slots:
            if PREDICTOR_PORT not in address.ports:
                continue
            known = self.slots.get(address.slot)
            if known is not None and _same_place(known.address, address):
                known.address = address
                known.ready = known.ready or address.ready  # one that was ready may still be: it is asked
                slots[address.slot] = known
            else:
                slots[address.slot] = Slot(address, self._connect(address))
        for name, slot in self.slots.items():
            if slots.get(name) is not slot:
                slot.upstream.close()
        self.slots = slots
        self.pools = _by_pool(slots)

    def close(self) -> None:
        for slot in self.slots.values():
            slot.upstream.close()


def _by_pool(slots: dict[str, Slot]) -> dict[str, SlotPool]:
    members: dict[str, dict[str, Slot]] = {}
    for slot in slots.values():
        members.setdefault(slot.address.pool, {})[slot.name] = slot
    return {name: SlotPool(slots) for name, slots in members.items()}


def _same_place(one: SlotAddress, other: SlotAddress) -> bool:
    return (one.pool, one.host, one.ports) == (other.pool, other.host, other.ports)
