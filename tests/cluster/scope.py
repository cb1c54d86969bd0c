"""Things that run from the start of a `with` block to its end, made of parts that do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from types import TracebackType
from typing import Self


class Scope(ABC):
    """A context manager that starts its parts in `_enter`; where one fails to start, those before it end."""

    _stack: ExitStack

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._enter(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @abstractmethod
    def _enter(self, stack: ExitStack) -> None:
        """Start everything, and leave with `stack` how each part is ended."""
