"""The memory tier: loaded models within a budget of measured bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from tenantry_predictor.repositories.base import Key
from tenantry_predictor.repositories.cost import Cost
from tenantry_predictor.repositories.eviction import LRU, Policy
from tenantry_predictor.repositories.frequency import LFU
from tenantry_predictor.runtimes.base import LoadedModel
from tenantry_predictor.tables import table_reader

Eviction = Literal["LFU", "LRU"]
"""What goes first: the least frequently or the least recently used."""


_NOBODY: frozenset[str] = frozenset()


class Entry:
    """A loaded model and what is known of its use. `users` counts the calls that hold it."""

    __slots__ = (
        "cost",
        "key",
        "load_seconds",
        "loaded_seconds",
        "model",
        "pinned_by",
        "rank",
        "requests",
        "resident",
        "score",
        "size_bytes",
        "table",
        "unpinned_of",
        "users",
    )

    def __init__(self, key: Key, model: LoadedModel, load_seconds: float = 0.0) -> None:
        self.key = key
        self.model = model
        self.load_seconds = load_seconds
        """That the next load would take."""
        self.loaded_seconds = load_seconds
        """That the last one took, with the fetch."""
        self.table = table_reader(model.inputs, model.columns)
        self.size_bytes = model.size_bytes
        self.users = 0
        self.score = 0.0
        self.rank: float | None = None
        self.pinned_by = _NOBODY
        """Model keys: of two models that share their bytes each pins for itself."""
        self.resident = False
        """In the tier. One that is not is closed when its last user leaves it."""
        self.requests: dict[str, int] = {}
        """Predictions by model key, of those that name its digest: two models of a tenant may share bytes."""
        self.unpinned_of = ""
        """The model that predicts with it without naming its digest: as one of many, each of one user."""
        self.cost = Cost(brief=model.brief)

    @property
    def pinned(self) -> bool:
        return bool(self.pinned_by)


class MemoryTier:
    """For one event loop's thread. What is in use or pinned is never evicted.

    `used_bytes` is above the budget only by what is in use; pinned models are never granted more than the
    budget. `dispose` is called with each model that leaves, once nobody uses it.
    """

    def __init__(
        self, budget_bytes: int, dispose: Callable[[LoadedModel], None], eviction: Eviction = "LFU"
    ) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self.pinned_bytes = 0
        self.evictions = 0
        self.refusals = 0
        """Models that were loaded and not kept, since all that would have had to go was worth more."""
        self._dispose = dispose
        self._entries: dict[Key, Entry] = {}
        self._policy: Policy[Entry] = (
            LRU(self._entries) if eviction == "LRU" else LFU(self._entries, budget_bytes)
        )
        self.touched = self._policy.touched
        """To be called with an entry that is asked for, once a request."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, key: Key) -> Entry | None:
        """The entry, if it is there."""
        return self._entries.get(key)

    def add(
        self,
        key: Key,
        model: LoadedModel,
        load_seconds: float = 0.0,
        *,
        spare: bool = False,
        keep: bool = False,
    ) -> Entry:
        """An entry for the model, in use by the caller, who must `release` it.

        A model too large for what pinned ones leave of the budget pushes nothing out: it lives while it is
        in use. So does a `spare` one that is too large for what is free (else it is the first to evict), and
        one that is worth less than what would have to go for it, unless it is loaded to `keep`.
        A key that is there already keeps its entry, and `model` is disposed of.
        """
        known = self.get(key)
        if known is not None:
            self._dispose(model)
            known.users += 1
            self.touched(known)
            if keep:
                self._policy.keep(known)
            return known
        entry = Entry(key, model, load_seconds)
        entry.users = 1
        if entry.size_bytes <= self.budget_bytes - (self.used_bytes if spare else self.pinned_bytes):
            entry.resident = True
            self._entries[key] = entry
            self.used_bytes += entry.size_bytes
            self._policy.added(entry)
            if spare:
                self._policy.condemn(entry)
            if keep:
                self._policy.keep(entry)
            self._evict(None if keep else entry)
        return entry

    def keep(self, entry: Entry) -> None:
        """Others are evicted before it until it is asked for."""
        if entry.resident:
            self._policy.keep(entry)

    def hold(self, entry: Entry) -> None:
        """One more user: the entry outlives its eviction."""
        entry.users += 1

    def release(self, entry: Entry) -> None:
        entry.users -= 1
        if entry.users == 0:
            if entry.resident:
                self._policy.let_go(entry)
                self._evict()
            else:
                self._dispose(entry.model)

    def resized(self, entry: Entry) -> None:
        """Its model has become smaller."""
        change = entry.model.size_bytes - entry.size_bytes
        entry.size_bytes += change
        if entry.resident:
            self.used_bytes += change
            self._policy.resized(entry, change)
        if entry.pinned:
            self.pinned_bytes += change

    def pin(self, entry: Entry, model: str) -> bool:
        """Keep it until `unpin` or `condemn`; False when pinned models would take more than the budget."""
        if not entry.pinned:
            if not entry.resident or self.pinned_bytes + entry.size_bytes > self.budget_bytes:
                return False
            self.pinned_bytes += entry.size_bytes
        entry.pinned_by |= {model}
        return True

    def unpin(self, entry: Entry, model: str) -> None:
        """Let it be evicted as any other, unless another model pins it."""
        if entry.pinned_by == {model}:
            self.pinned_bytes -= entry.size_bytes
        entry.pinned_by -= {model}
        if entry.resident:
            self._policy.let_go(entry)
            self._evict()

    def condemn(self, key: Key, model: str) -> None:
        """Make it the first to evict, unless another model pins it; another request redeems it."""
        entry = self._entries.get(key)
        if entry is None:
            return
        self._policy.condemn(entry)
        self.unpin(entry, model)

    def close(self) -> None:
        """Dispose of everything, used or not."""
        for entry in self._entries.values():
            self._dispose(entry.model)
        self._entries.clear()
        self.used_bytes = self.pinned_bytes = 0

    def _evict(self, newcomer: Entry | None = None) -> None:
        excess = self.used_bytes - self.budget_bytes
        for entry in self._policy.victims(excess, newcomer) if excess > 0 else ():
            del self._entries[entry.key]
            entry.resident = False
            self.used_bytes -= entry.size_bytes
            if entry is newcomer:
                self.refusals += 1
            else:
                self.evictions += 1
                self._dispose(entry.model)
