"""The routing table: every model, indexed by key, by name and by what its tenant's users are called.

It is changed entry by entry, within one call and on the event loop's thread, so that a reader never sees half
of a change and no large dictionary is ever copied.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterator, KeysView, Mapping

from tenantry_core.names import is_model_key, is_tenant
from tenantry_core.slices import Entry, SliceContent, winners
from tenantry_router.model import RoutedModel

_SHA256 = re.compile(r"([0-9a-f]{64})?")
_NOTHING: Mapping[str, Entry] = {}


class Claims:
    """Texts that models of one tenant claim; of several claimants the oldest model has it."""

    __slots__ = ("_claimants",)

    def __init__(self) -> None:
        self._claimants: dict[str, list[RoutedModel]] = {}

    def add(self, text: str, model: RoutedModel) -> None:
        insort(self._claimants.setdefault(text, []), model, key=lambda m: m.age)

    def remove(self, text: str, model: RoutedModel) -> None:
        claimants = self._claimants[text]
        claimants.remove(model)
        if not claimants:
            del self._claimants[text]

    def owner(self, text: str) -> RoutedModel | None:
        claimants = self._claimants.get(text)
        return claimants[0] if claimants else None

    def __bool__(self) -> bool:
        return bool(self._claimants)


class Tenant:
    """The models of one tenant, and which of them answers for which user."""

    __slots__ = ("ids", "models", "prefixes", "unfiltered")

    def __init__(self) -> None:
        self.models: dict[str, RoutedModel] = {}
        """All of them, by key."""
        self.unfiltered: dict[str, RoutedModel] = {}
        """Those that answer for every user, by key."""
        self.ids = Claims()
        self.prefixes: dict[int, Claims] = {}
        """By length, longest first."""

    def add(self, model: RoutedModel) -> None:
        users = model.entry.users
        self.models[model.key] = model
        if users.unfiltered:
            self.unfiltered[model.key] = model
        for user in frozenset(users.ids):
            self.ids.add(user, model)
        for prefix in frozenset(users.prefixes):
            if len(prefix) not in self.prefixes:
                self.prefixes[len(prefix)] = Claims()
                self.prefixes = dict(sorted(self.prefixes.items(), reverse=True))
            self.prefixes[len(prefix)].add(prefix, model)

    def remove(self, model: RoutedModel) -> None:
        users = model.entry.users
        del self.models[model.key]
        self.unfiltered.pop(model.key, None)
        for user in frozenset(users.ids):
            self.ids.remove(user, model)
        for prefix in frozenset(users.prefixes):
            claims = self.prefixes[len(prefix)]
            claims.remove(prefix, model)
            if not claims:
                del self.prefixes[len(prefix)]

    def model_for(self, user: str) -> RoutedModel | None:
        """The model that claims this user: by the exact id, else by the longest prefix."""
        model = self.ids.owner(user)
        if model is not None:
            return model
        for length, claims in self.prefixes.items():
            model = claims.owner(user[:length])
            if model is not None:
                return model
        return None


class Table:
    """All models of all slices. A model that is in several slices is routed by the entry that supersedes."""

    def __init__(self) -> None:
        self.models: dict[str, RoutedModel] = {}
        """By key."""
        self.tenants: dict[str, Tenant] = {}
        self.generation = 0
        """Another number after every change."""
        self.names: dict[str, dict[str, RoutedModel]] = {}
        """By resource name, then by key: a name is unique within a namespace only."""
        self._slices: dict[str, dict[str, Entry]] = {}
        self._holders: dict[str, dict[str, Entry]] = {}
        """By model key, then by slice."""

    @property
    def slices(self) -> KeysView[str]:
        """Names of the slices that hold anything."""
        return self._slices.keys()

    def set_slice(self, name: str, content: SliceContent) -> None:
        """What slice `name` holds from now on. Raises ValueError, changing nothing, for a malformed entry."""
        for entry in content.entries:
            _check(entry)
        self._replace(name, winners(content.entries))

    def remove_slice(self, name: str) -> None:
        """Slice `name` is gone; models that another slice holds stay."""
        self._replace(name, _NOTHING)

    def _replace(self, name: str, new: Mapping[str, Entry]) -> None:
        self.generation += 1
        old = self._slices.get(name, _NOTHING)
        for key in _changed(old, new):
            holders = self._holders.setdefault(key, {})
            if key in new:
                holders[name] = new[key]
            else:
                del holders[name]
            self._route(key, holders)
        if new:
            self._slices[name] = dict(new)
        else:
            self._slices.pop(name, None)

    def _route(self, key: str, holders: Mapping[str, Entry]) -> None:
        """Make the model's best entry the one that is routed."""
        best = winners(holders.values()).get(key)
        known = self.models.get(key)
        if known is not None and known.entry != best:
            self._remove(known)
            known = None
        if best is None:
            del self._holders[key]
        elif known is None:
            self._add(RoutedModel(best))

    def _add(self, model: RoutedModel) -> None:
        self.models[model.key] = model
        self.names.setdefault(model.name, {})[model.key] = model
        self.tenants.setdefault(model.tenant, Tenant()).add(model)

    def _remove(self, model: RoutedModel) -> None:
        del self.models[model.key]
        _remove_from(self.names, model.name, model.key)
        tenant = self.tenants[model.tenant]
        tenant.remove(model)
        if not tenant.models:
            del self.tenants[model.tenant]


def _check(entry: Entry) -> None:
    """Let nothing pass that would break out of its line in a request for a predictor. Raises ValueError."""
    if not is_model_key(entry.model):
        raise ValueError(f"{entry.model!r} is no model key: expected namespace.name")
    if not is_tenant(entry.tenant):
        raise ValueError(f"{entry.tenant!r}, the tenant of {entry.model}, is none")
    for target in entry.targets:
        if not _SHA256.fullmatch(target.reference.sha256):
            raise ValueError(f"{target.reference.sha256!r}, a version of {entry.model}, is no digest")


def _changed(old: Mapping[str, Entry], new: Mapping[str, Entry]) -> Iterator[str]:
    """Keys whose entries differ."""
    for key, entry in new.items():
        if old.get(key) != entry:
            yield key
    for key in old:
        if key not in new:
            yield key


def _remove_from(index: dict[str, dict[str, RoutedModel]], name: str, key: str) -> None:
    del index[name][key]
    if not index[name]:
        del index[name]
