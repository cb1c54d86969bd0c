"""Own writes that the source has not shown yet: what was just written counts at once."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

_KEPT = 16
"""Unseen writes remembered an object. A source that never echoes costs this much and no more."""


class Echoes(Generic[T]):
    """Overlay of own writes, by object name, above what a source reports.

    A watch shows own writes late but in order: seeing one of them settles it and all before it. Content
    that was not written here means that somebody else wrote, so the overlay of that object goes.
    """

    def __init__(self) -> None:
        self._unseen: dict[str, deque[T]] = {}

    def wrote(self, name: str, content: T) -> None:
        self._unseen.setdefault(name, deque(maxlen=_KEPT)).append(content)

    def observed(self, name: str, content: T) -> T:
        """What counts now that the source shows `content`: the latest own write it may not know of."""
        unseen = self._unseen.get(name)
        if unseen is None:
            return content
        if content not in unseen:
            self.forget(name)
            return content
        latest = unseen[-1]
        while unseen and unseen.popleft() != content:
            pass
        if not unseen:
            self.forget(name)
        return latest

    def forget(self, name: str) -> None:
        """Trust the source alone again, as after a conflict or when the object is gone."""
        self._unseen.pop(name, None)
