"""Entries, slots and pools made from few letters, so that hypothesis makes them meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tenantry_core.slices import Entry, Reference, Target, Users
from tenantry_core.snapshot import AddressBook, SlotAddress
from tenantry_router.fleet import Fleet
from tenantry_router.model import RoutedTarget

TENANTS = ("a", "b")
KEYS = tuple(f"{namespace}.{name}" for namespace in ("n", "m") for name in ("a", "b", "c"))
TEXTS = st.text("xy", min_size=1, max_size=3)


def entry(model: str = "n.a", **fields: Any) -> Entry:
    values: dict[str, Any] = {
        "uid": "1",
        "created": "2026-01-01T00:00:00Z",
        "revision": 1,
        "tenant": "a",
        "pool": "p",
        "targets": (Target(Reference("s3://m/a.onnx", "onnx"), ("p-0",)),),
    }
    return Entry(model=model, **(values | fields))


entries = st.builds(
    lambda day, **fields: entry(uid=f"uid-{day}", created=f"2026-01-0{day}T00:00:00Z", **fields),
    day=st.integers(1, 3),
    model=st.sampled_from(KEYS),
    revision=st.integers(1, 3),
    tenant=st.sampled_from(TENANTS),
    users=st.builds(
        Users,
        ids=st.lists(TEXTS, max_size=2).map(tuple),
        prefixes=st.lists(TEXTS, max_size=2).map(tuple),
    ),
)


class FakeUpstream:
    """Stands for connections where only their number matters."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.closed = False

    def close(self) -> None:
        self.closed = True


def fleet(slots: Sequence[str]) -> Fleet:
    """Slots of the pool `p`, all ready."""
    made = Fleet(lambda _: FakeUpstream())  # type: ignore[arg-type,return-value]
    made.set_addresses(AddressBook(tuple(SlotAddress(slot, "p", "h", {"http": 1}) for slot in slots)))
    return made


def target(slots: Sequence[str]) -> RoutedTarget:
    return RoutedTarget("n.a", "a", Target(Reference("s3://m/a.onnx", "onnx"), tuple(slots)))
