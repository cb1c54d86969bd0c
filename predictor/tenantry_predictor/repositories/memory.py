"""The memory tier: loaded models, least recently used out first, within a budget of measured bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from tenantry_predictor.repositories.base import Key
from tenantry_predictor.repositories.cost import Cost
from tenantry_predictor.runtimes.base import LoadedModel
from tenantry_predictor.tables import TableReader


class Entry:
    """A loaded model and what is known of its use. `users` counts the calls that hold it."""

    __slots__ = (
        "cost",
        "key",
        "load_seconds",
        "model",
        "pinned_by",
        "requests",
        "resident",
        "size_bytes",
        "table",
        "unpinned_of",
        "users",
    )

    def __init__(self, key: Key, model: LoadedModel, load_seconds: float = 0.0) -> None:
        self.key = key
        self.model = model
        self.load_seconds = load_seconds
        self.table = TableReader(model.inputs, model.columns)
        self.size_bytes = model.size_bytes
        self.users = 0
        self.pinned_by: set[str] = set()
        """Model keys: of two models that share their bytes each pins for itself."""
        self.resident = False
        """In the tier. One that is not is closed when its last user leaves it."""
        self.requests: dict[str, int] = {}
        """Predictions by model key, of those that name its digest: two models of a tenant may share bytes."""
        self.unpinned_of = ""
        """The model that predicts with it without naming its digest: as one of many, each of one user."""
        self.cost = Cost()

    @property
    def pinned(self) -> bool:
        return bool(self.pinned_by)


class MemoryTier:
    """For one event loop's thread. What is in use or pinned is never evicted.

    `used_bytes` is above the budget only by what is in use; pinned models are never granted more than the
    budget. `dispose` is called with each model that leaves, once nobody uses it.
    """

    def __init__(self, budget_bytes: int, dispose: Callable[[LoadedModel], None]) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self.pinned_bytes = 0
        self.evictions = 0
        self._dispose = dispose
        self._entries: OrderedDict[Key, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, key: Key) -> Entry | None:
        """The entry, which becomes the last to evict."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def add(self, key: Key, model: LoadedModel, load_seconds: float = 0.0, *, spare: bool = False) -> Entry:
        """An entry for the model, in use by the caller, who must `release` it.

        A model too large for what pinned ones leave of the budget pushes nothing out: it lives while it is
        in use. So does a `spare` one that is too large for what is free; else it is the first to evict.
        A key that is there already keeps its entry, and `model` is disposed of.
        """
        known = self.get(key)
        if known is not None:
            self._dispose(model)
            known.users += 1
            return known
        entry = Entry(key, model, load_seconds)
        entry.users = 1
        if entry.size_bytes <= self.budget_bytes - (self.used_bytes if spare else self.pinned_bytes):
            entry.resident = True
            self._entries[key] = entry
            self._entries.move_to_end(key, last=not spare)
            self.used_bytes += entry.size_bytes
            self._evict()
        return entry

    def hold(self, entry: Entry) -> None:
        """One more user: the entry outlives its eviction."""
        entry.users += 1

    def release(self, entry: Entry) -> None:
        entry.users -= 1
        if entry.users == 0:
            if not entry.resident:
                self._dispose(entry.model)
            elif self.used_bytes > self.budget_bytes:
                self._evict()

    def resized(self, entry: Entry) -> None:
        """Its model has become smaller."""
        change = entry.model.size_bytes - entry.size_bytes
        entry.size_bytes += change
        if entry.resident:
            self.used_bytes += change
        if entry.pinned:
            self.pinned_bytes += change

    def pin(self, entry: Entry, model: str) -> bool:
        """Keep it until `unpin` or `condemn`; False when pinned models would take more than the budget."""
        if not entry.pinned:
            if not entry.resident or self.pinned_bytes + entry.size_bytes > self.budget_bytes:
                return False
            self.pinned_bytes += entry.size_bytes
        entry.pinned_by.add(model)
        return True

    def unpin(self, entry: Entry, model: str) -> None:
        """Let it be evicted as any other, unless another model pins it."""
        if entry.pinned_by == {model}:
            self.pinned_bytes -= entry.size_bytes
        entry.pinned_by.discard(model)
        self._evict()

    def condemn(self, key: Key, model: str) -> None:
        """Make it the first to evict, unless another model pins it; another request redeems it."""
        entry = self._entries.get(key)
        if entry is None:
            return
        self._entries.move_to_end(key, last=False)
        self.unpin(entry, model)

    def close(self) -> None:
        """Dispose of everything, used or not."""
        for entry in self._entries.values():
            self._dispose(entry.model)
        self._entries.clear()
        self.used_bytes = self.pinned_bytes = 0

    def _evict(self) -> None:
        for entry in list(self._evictable()) if self.used_bytes > self.budget_bytes else ():
            del self._entries[entry.key]
            entry.resident = False
            self.used_bytes -= entry.size_bytes
            self.evictions += 1
            self._dispose(entry.model)

    def _evictable(self) -> Iterator[Entry]:
        """From the oldest on, as many as it takes."""
        excess = self.used_bytes - self.budget_bytes
        for entry in self._entries.values():
            if excess <= 0:
                return
            if not entry.users and not entry.pinned:
                excess -= entry.size_bytes
                yield entry
