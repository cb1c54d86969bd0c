"""Afterwards, with nobody waiting: models that were opened as they came are made smaller, one at a time."""

from __future__ import annotations

import asyncio
from collections import deque

from tenantry_predictor.repositories.loader import ArtifactLoader
from tenantry_predictor.repositories.memory import Entry, MemoryTier

_MOST_WAITING = 1000
"""Where loads come faster than this, the rest stay as they are until they are loaded again."""


class Preparation:
    """For one event loop's thread."""

    def __init__(self, loader: ArtifactLoader, memory: MemoryTier) -> None:
        self._loader = loader
        self._memory = memory
        self._waiting: deque[Entry] = deque()
        self._task: asyncio.Task[None] | None = None

    def later(self, entry: Entry) -> None:
        """If there is something to be gained."""
        if entry.model.wasteful and len(self._waiting) < _MOST_WAITING:
            self._waiting.append(entry)
            if self._task is None:
                self._task = asyncio.create_task(self._work())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        try:
            while self._waiting:
                entry = self._waiting.popleft()
                if entry.resident:
                    await self._prepare(entry)
        finally:
            self._task = None

    async def _prepare(self, entry: Entry) -> None:
        self._memory.hold(entry)
        try:
            await self._loader.prepare(entry.key, entry.model)
        finally:
            self._memory.resized(entry)
            self._memory.release(entry)
