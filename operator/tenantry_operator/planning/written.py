"""What is written in the slices, by model and by slot, kept up from one plan to the next."""

from __future__ import annotations

from collections.abc import Mapping

from tenantry_core.slices import Entry, winners

Slices = Mapping[str, tuple[Entry, ...]]


class Written:
    """The entry that counts for each model, of slices that may hold it twice while they are split."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        """By model key."""
        self.routed: dict[str, dict[str, Entry]] = {}
        """The entries that route to each slot, by model key; slots without any are left out."""
        self._slices: Slices = {}
        self._holders: dict[str, dict[str, Entry]] = {}
        """By model key, then by slice."""

    def update(self, slices: Slices) -> set[str]:
        """Takes the slices as they are now; gives the models whose entry is another one since."""
        touched: set[str] = set()
        for name in [n for n, content in slices.items() if self._slices.get(n) is not content]:
            touched |= self._replace(name, slices[name])
        for name in self._slices.keys() - slices.keys():
            touched |= self._replace(name, ())
        self._slices = slices
        return {key for key in touched if self._choose(key)}

    def _replace(self, name: str, content: tuple[Entry, ...]) -> set[str]:
        new = winners(content)
        gone = {entry.model for entry in self._slices.get(name, ())} - new.keys()
        for key in gone:
            del self._holders[key][name]
        for key, entry in new.items():
            self._holders.setdefault(key, {})[name] = entry
        return gone | new.keys()

    def _choose(self, key: str) -> bool:
        """Whether another entry counts for the model now."""
        holders = self._holders[key]
        best = winners(holders[name] for name in sorted(holders)).get(key)
        known = self.entries.get(key)
        if best is None:
            del self._holders[key]
        if best is known:
            return False
        for slot in _slots(known):
            del self.routed[slot][key]
            if not self.routed[slot]:
                del self.routed[slot]
        for slot in _slots(best):
            self.routed.setdefault(slot, {})[key] = best  # type: ignore[assignment]
        if best is None:
            del self.entries[key]
        else:
            self.entries[key] = best
        return True


def _slots(entry: Entry | None) -> set[str]:
    return {slot for target in entry.targets for slot in target.slots} if entry is not None else set()
