"""The entries as they shall be, beside those that are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tenantry_core.slices import Entry, Reference
from tenantry_operator.planning.layout import Layout
from tenantry_operator.planning.plan import Release
from tenantry_operator.planning.slicing import Slices, revise
from tenantry_operator.planning.written import Written


class Planned:
    """What nobody has decided about yet is planned as it is written: what serves, goes on."""

    def __init__(self, written: Written) -> None:
        self.entries: dict[str, Entry] = {}
        """By model key."""
        self.per_pool: Counter[str] = Counter()
        self.unwritten: set[str] = set()
        """Models whose entry is not written as it should be."""
        self._replaced: set[str] = set()
        """Those of them that something else is written for."""
        self._written = written
        self._layout = Layout()
        self._changed: dict[str, Entry | None] = {}
        """Since slices were last filled, in order."""

    def enter(self, key: str, entry: Entry | None) -> None:
        """From now on this is the model's entry; None where it may not have one."""
        before = self.entries.pop(key, None)
        if before is not None:
            self.per_pool[before.pool] -= 1
        if entry is not None:
            self.entries[key] = entry
            self.per_pool[entry.pool] += 1
        if entry is not before:
            self._changed[key] = entry
        written = self._written.entries.get(key)
        differs = entry is not written
        (self.unwritten.add if differs else self.unwritten.discard)(key)
        (self._replaced.add if differs and written is not None else self._replaced.discard)(key)

    def enter_first(self, entries: Mapping[str, Entry]) -> None:
        """Entries of models that had none, and for which nothing is written."""
        self.entries |= entries
        self.per_pool.update([entry.pool for entry in entries.values()])
        self._changed |= entries
        self.unwritten |= entries.keys()

    def compare(self, key: str) -> None:
        """Something was written for the model: it may be what was planned, though read from the watch."""
        entry, written = self.entries.get(key), self._written.entries.get(key)
        self.enter(key, written if entry == written else entry)

    def revise(self, entry: Entry, highest: int) -> Entry:
        """As it is written; else as it was planned before; else with a revision of its own."""
        written, planned = self._written.entries.get(entry.model), self.entries.get(entry.model)
        revised = revise(entry, written, highest)
        if revised is written or planned is None:
            return revised
        newer = written is None or planned.revision > written.revision
        return planned if newer and revise(entry, planned, highest) is planned else revised

    def fill(
        self, slices: Slices, count: int, urgent: Iterable[str]
    ) -> tuple[dict[str, tuple[Entry, ...]], frozenset[str], frozenset[str]]:
        """Slices to write, those of them with `urgent` models, and slices to delete then.

        `slices` are those that are written; `count` is how many models they shall hold in the end.
        """
        changed, self._changed = self._changed, {}
        due, obsolete = self._layout.update(changed, slices, count)
        return due, frozenset(self._layout.names(urgent) & due.keys()), obsolete

    def releases(self) -> tuple[Release, ...]:
        """What slots were routed and are no more; the same bytes under another URI are kept."""
        releases = []
        for key in sorted(self._replaced):
            before, after = self._written.entries[key], self.entries.get(key)
            kept = {} if after is None else _routes(after)
            routes = _routes(before)
            gone = sorted(route for route in routes if route not in kept)
            releases += [Release(slot, key, before.tenant, routes[slot, sha]) for slot, sha in gone]
        return tuple(releases)


def _routes(entry: Entry) -> dict[tuple[str, str], Reference]:
    """References by slot and digest."""
    return {
        (slot, target.reference.sha256): target.reference for target in entry.targets for slot in target.slots
    }
