"""A mapping of a hundred thousand that costs little to copy, and to compare with an earlier copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, compress
from operator import is_not
from typing import TypeVar

T = TypeVar("T")

_SHARDS = 1024


class Shards(Mapping[str, T]):
    """Values by key, in many small dictionaries; copies share those that neither has changed since."""

    def __init__(self) -> None:
        self._shards: list[dict[str, T]] = [{} for _ in range(_SHARDS)]
        self._own = [True] * _SHARDS
        """Which of them no copy has."""

    def __getitem__(self, key: str) -> T:
        return self._shards[hash(key) % _SHARDS][key]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._shards)

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def get(self, key: str, default: T | None = None) -> T | None:  # type: ignore[override]
        return self._shards[hash(key) % _SHARDS].get(key, default)

    def put(self, key: str, value: T) -> None:
        self._writable(key)[key] = value

    def pop(self, key: str) -> T | None:
        """The value that was there."""
        return self._writable(key).pop(key, None)

    def copy(self) -> Shards[T]:
        copy = Shards.__new__(type(self))
        copy._shards, copy._own = self._shards.copy(), [False] * _SHARDS
        self._own = [False] * _SHARDS
        return copy

    def _writable(self, key: str) -> dict[str, T]:
        number = hash(key) % _SHARDS
        if not self._own[number]:
            self._shards[number] = self._shards[number].copy()
            self._own[number] = True
        return self._shards[number]


def differing(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Keys whose values are other objects than before, those that are gone too."""
    if isinstance(old, Shards) and isinstance(new, Shards):
        pairs = zip(old._shards, new._shards, strict=True)
        return [key for before, after in pairs for key in _differing(before, after)]
    return _differing(old, new)


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    if old is new:
        return []
    found = list(compress(new, map(is_not, new.values(), map(old.get, new))))
    added = sum(key not in old for key in found)
    if len(old) + added > len(new):
        found += [key for key in old if key not in new]
    return found
