"""Which slots a model is kept warm on: rendezvous hashing with a hard bound, sticky, vectorised.

The bound is that of consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018), put
on rendezvous scores. What is placed stays; only what must find a place (a new model, a lost slot's share, a
slot over the bound) is placed, and a slot that has joined draws the models that score it highest.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from tenantry_core.hashing import U64Array, hash_name, scores

BOUND = 1.25
"""No slot holds more than this many times the mean number of models."""
JOINED_BELOW = 0.5
"""A slot with less than this share of the mean has just joined, or is back; hashing alone stays above."""

_BLOCK = 2048

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def place(
    replicas: Mapping[str, int], current: Mapping[str, Collection[str]], slots: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Slots of each model, sorted by name: `replicas[model]` of them, or all when there are fewer.

    `current` is where models are now; slots outside `slots` count as gone. The order of the arguments'
    items plays no part. Without slots every model gets none.
    """
    names = sorted(slots)
    keys = sorted(replicas)
    if not names or not keys:
        return dict.fromkeys(keys, ())
    board = _Board(keys, names, np.array([replicas[key] for key in keys], dtype=np.int64))
    board.keep(current)
    board.trim()
    board.attract()
    board.shed()
    board.fill()
    while board.attract():
        pass
    return board.result()


def place_some(
    replicas: Mapping[str, int],
    current: Mapping[str, Collection[str]],
    slots: Iterable[str],
    others: Mapping[str, int],
) -> dict[str, tuple[str, ...]] | None:
    """What `place` gives for these models among all the rest, which are placed as it placed them before.

    `others` is how many of the rest each slot holds. None where the rest must move too: place them all.
    """
    names = sorted(slots)
    keys = sorted(replicas)
    if not names:
        return dict.fromkeys(keys, ())
    held = np.array([others.get(name, 0) for name in names], dtype=np.int64)
    board = _Board(keys, names, np.array([replicas[key] for key in keys], dtype=np.int64), held)
    board.keep(current)
    board.trim()
    if board.is_uneven():
        return None
    try:
        board.fill()
    except _Entangled:
        return None
    return None if board.is_uneven() else board.result()


class _Entangled(Exception):
    """A model finds its place only where one of the rest moves."""


class _Board:
    """Models by slots: who scores whom how high, and who is placed where.

    `others` is how many more models each slot holds that are not on the board and stay where they are.
    """

    def __init__(self, keys: list[str], names: list[str], replicas: Ints, others: Ints | None = None) -> None:
        self._others = others
        self.keys = keys
        self.names = names
        self.score: U64Array = scores([hash_name(key) for key in keys], names)
        self.placed: Bools = np.zeros(self.score.shape, dtype=np.bool_)
        self.need = np.clip(replicas, 0, len(names))
        rest = 0 if others is None else int(others.sum())
        self.mean = (int(self.need.sum()) + rest) / len(names)
        self.capacity = math.ceil(BOUND * self.mean)

    def held(self) -> Ints:
        """Models on each slot."""
        held: Ints = self.placed.sum(axis=0, dtype=np.int64)
        return held if self._others is None else held + self._others

    def is_uneven(self) -> bool:
        """Would a slot draw models, or have to shed some?"""
        held = self.held()
        return bool((held < JOINED_BELOW * held.mean()).any() or (held > self.capacity).any())

    def keep(self, current: Mapping[str, Collection[str]]) -> None:
        column = {name: index for index, name in enumerate(self.names)}
        rows, columns = [], []
        for row, key in enumerate(self.keys):
            for slot in current.get(key, ()):
                if slot in column:
                    rows.append(row)
                    columns.append(column[slot])
        self.placed[rows, columns] = True

    def trim(self) -> None:
        """Take the lowest scoring slots from models that have more than they need."""
        while (rows := np.flatnonzero(self.placed.sum(axis=1) > self.need)).size:
            self.placed[rows, self._weakest(rows)] = False

    def attract(self) -> bool:
        """Give slots that have joined the models that would have chosen them. Returns whether any moved.

        Up to the mean, less what must move elsewhere to keep the bound; first from slots that break it.
        Every move raises a model's score, so this comes to an end.
        """
        moved = False
        settled = np.flatnonzero((self.placed.sum(axis=1) == self.need) & (self.need > 0))
        # Of the models that are placed: who holds few because many must find a place has not joined.
        for slot in np.flatnonzero(self.held() < JOINED_BELOW * self.held().mean()):
            rows = settled[~self.placed[settled, slot]]
            score = self.score[rows]
            drawn = rows[(score > score[:, [slot]]).sum(axis=1) < self.need[rows]]
            if drawn.size:
                held, leaves = self.held(), self._weakest(drawn)
                excess = np.maximum(held - self.capacity, 0)
                sheds = np.maximum(excess - np.bincount(leaves, minlength=len(held)), 0).sum()
                room = max(0, max(1, int(self.mean)) - int(held[slot] + sheds))
                first: Ints = np.lexsort((~self.score[drawn, slot], excess[leaves] == 0))[:room]
                self.placed[drawn[first], leaves[first]] = False
                self.placed[drawn[first], slot] = True
                moved |= bool(first.size)
        return moved

    def shed(self) -> None:
        """Where the bound is broken, let those go that score the slot lowest."""
        held = self.held()
        for slot in np.flatnonzero(held > self.capacity):
            rows = np.flatnonzero(self.placed[:, slot])
            lowest = np.argsort(self.score[rows, slot], kind="stable")[: held[slot] - self.capacity]
            self.placed[rows[lowest], slot] = False

    def fill(self) -> None:
        """Deferred acceptance: each model asks its best slot with room, each slot takes its best askers."""
        rows = np.flatnonzero(self.placed.sum(axis=1) < self.need)
        while rows.size:
            room = self.capacity - self.held()
            choice = self._best_open(rows, room)
            stuck = self.placed[rows, choice] | (room[choice] <= 0)
            if stuck.any():
                self._swap_in(int(rows[stuck][0]))
            else:
                taken = _best_askers(choice, self.score[rows, choice], room)
                self.placed[rows[taken], choice[taken]] = True
            rows = rows[self.placed[rows].sum(axis=1) < self.need[rows]]

    def _best_open(self, rows: Ints, room: Ints) -> Ints:
        """The highest scoring slot with room that does not hold the model yet, in blocks that fit a cache."""
        choice: Ints = np.empty(len(rows), dtype=np.int64)
        full = room <= 0
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            score = self.score[block]
            score[self.placed[block] | full] = 0
            choice[start : start + _BLOCK] = score.argmax(axis=1)
        return choice

    def _swap_in(self, row: int) -> None:
        """Only slots that hold the model have room: another model moves there and gives up its place.

        There is always one: a full slot holds more models than one with room.
        """
        if self._others is not None:
            raise _Entangled
        room = int(np.flatnonzero((self.held() < self.capacity) & self.placed[row])[0])
        free = np.where(self.placed[row], np.uint64(0), self.score[row])
        slot = int(free.argmax())
        movable = np.flatnonzero(self.placed[:, slot] & ~self.placed[:, room])
        other = movable[self.score[movable, slot].argmin()]
        self.placed[other, [slot, room]] = [False, True]
        self.placed[row, slot] = True

    def _weakest(self, rows: Ints) -> Ints:
        """The lowest scoring of each row's slots."""
        never = np.iinfo(np.uint64).max
        weakest: Ints = np.where(self.placed[rows], self.score[rows], never).argmin(axis=1)
        return weakest

    def result(self) -> dict[str, tuple[str, ...]]:
        slots: list[list[str]] = [[] for _ in self.keys]
        for row, column in np.argwhere(self.placed).tolist():
            slots[row].append(self.names[column])
        return dict(zip(self.keys, map(tuple, slots), strict=True))


def _best_askers(choice: Ints, score: U64Array, room: Ints) -> Ints:
    """Indices of those who get in: per slot, the highest scores up to its room."""
    order = np.lexsort((~score, choice))
    sorted_choice = choice[order]
    first = np.searchsorted(sorted_choice, sorted_choice, side="left")
    position = np.arange(len(order)) - first
    taken: Ints = order[position < room[sorted_choice]]
    return taken
