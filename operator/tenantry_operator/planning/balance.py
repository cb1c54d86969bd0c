"""Measured load, brought from slots that have too much of it to those that have little.

Best effort, beside the bound on the number of models that `placement` holds: a few heavy models move, those
first that have to move anyway. Greedy: the heaviest that fits goes to the slot that has least.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from tenantry_operator.planning.replicas import HOT

LOAD_BOUND = 1.15
"""A slot with more than this many times the mean load gives models away ..."""
SETTLED = 1.05
"""... until it has less than this many times the mean, and no slot is given more than that. Between the two
nothing moves: no two measurements are the same."""
LIGHT = 0.005
"""What brings a slot less than this share of the mean stays where it is: moving it would change nothing."""

Places = tuple[str, ...]
Current = Callable[[str], Collection[str]]


class Loads:
    """Requests per second on the slots of a pool, as its models are placed; even over a model's slots."""

    def __init__(self) -> None:
        self._slots: dict[str, float] = {}
        self._models: dict[str, tuple[Places, float]] = {}
        """Where each model is, and what each of these slots gets of it."""

    def put(self, model: str, slots: Places, rate: float) -> None:
        """The model is on these slots from now on."""
        self.drop(model)
        if slots and rate:
            self._models[model] = slots, rate / len(slots)
            self._add(slots, rate / len(slots))

    def drop(self, model: str) -> None:
        """It is nowhere."""
        if model in self._models:
            slots, each = self._models.pop(model)
            self._add(slots, -each)

    def _add(self, slots: Places, each: float) -> None:
        for slot in slots:
            self._slots[slot] = self._slots.get(slot, 0.0) + each

    def moves(
        self,
        room: Mapping[str, int],
        spare: Mapping[str, int],
        may_move: Callable[[str], bool],
        current: Current,
    ) -> dict[str, Places]:
        """New slots of the models to move; mostly none. After these moves there are no more.

        `room` is how many more models each slot of the pool may hold and `spare` how many it may give away,
        `current` where a model is already: to take it off another slot costs nothing.
        """
        loads = {slot: self._slots.get(slot, 0.0) for slot in sorted(room)}
        if not _overloaded(loads):
            return {}
        heavy = _heavy_models(self._models, _mean(loads) * LIGHT, may_move)
        board = _Board(loads, dict(room), dict(spare), heavy, current)
        relieved = [True]
        while any(relieved):
            relieved = [board.relieve(slot) for slot in _overloaded(loads)]
        return board.moved


def _mean(loads: Mapping[str, float]) -> float:
    return sum(loads.values()) / max(1, len(loads))


def _overloaded(loads: Mapping[str, float]) -> list[str]:
    """The most loaded first."""
    limit = max(HOT, LOAD_BOUND * _mean(loads))
    return sorted((slot for slot in loads if loads[slot] > limit), key=lambda slot: -loads[slot])


def _heavy_models(
    models: Mapping[str, tuple[Places, float]], light: float, may_move: Callable[[str], bool]
) -> dict[str, tuple[Places, float]]:
    return {key: one for key, one in sorted(models.items()) if one[1] >= light and may_move(key)}


class _Board:
    """The slots of one pool while models move between them. The mean stays as it is."""

    def __init__(
        self,
        loads: dict[str, float],
        room: dict[str, int],
        spare: dict[str, int],
        models: dict[str, tuple[Places, float]],
        current: Current,
    ) -> None:
        self._loads = loads
        self._room = room
        self._spare = spare
        self._mean = _mean(loads)
        self._models = models
        self._current = current
        self._held: dict[str, list[str]] = {}
        """Models that may leave a slot, in the order in which they are looked at."""
        self.moved: dict[str, Places] = {}

    def relieve(self, source: str) -> bool:
        """Take models off an overloaded slot, until it is settled, has none to spare or nothing fits.

        Whether any went.
        """
        held = self._held.get(source)
        if held is None:
            held = self._held[source] = self._leavers(source)
        relieved = False
        while self._may_give(source) and (move := self._find(source, held)):
            self._move(move[0], source, move[1])
            held.remove(move[0])
            relieved = True
        return relieved

    def _may_give(self, source: str) -> bool:
        return self._spare[source] > 0 and self._loads[source] > SETTLED * self._mean

    def _leavers(self, source: str) -> list[str]:
        """First those that are not there yet, of these the heaviest."""
        held = [key for key, (slots, _) in self._models.items() if source in slots]
        return sorted(held, key=lambda key: (source in self._current(key), -self._models[key][1]))

    def _find(self, source: str, held: list[str]) -> tuple[str, str] | None:
        """A model, and the slot that it goes to: neither end changes sides of the mean by much."""
        surplus = self._loads[source] - self._mean
        for slot in sorted(self._loads, key=self._loads.__getitem__):
            fits = min(surplus, SETTLED * self._mean - self._loads[slot])
            if fits <= 0:
                return None
            if self._room[slot] > 0:
                for key in held:
                    slots, each = self._models[key]
                    if each <= fits and slot not in slots:
                        return key, slot
        return None

    def _move(self, key: str, source: str, slot: str) -> None:
        slots, each = self._models[key]
        moved = tuple(sorted({*slots, slot} - {source}))
        self._models[key] = moved, each
        self.moved[key] = moved
        self._loads[source] -= each
        self._loads[slot] += each
        for at, gained in (source, -1), (slot, 1):
            self._room[at] -= gained
            self._spare[at] += gained
