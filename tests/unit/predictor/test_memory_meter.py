"""Growth of the heap, attributed to the work that caused it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from hypothesis import given
from hypothesis import strategies as st

from tenantry_predictor.runtimes.memory import MemoryMeter


class Heap:
    def __init__(self) -> None:
        self.used = 1000

    def __call__(self) -> int:
        return self.used


def test_work_alone_gets_exactly_what_the_heap_grew_by() -> None:
    heap = Heap()
    meter = MemoryMeter(heap)
    with meter.measure(10) as size:
        heap.used += 5000
    heap.used += 77_000  # not ours any more
    assert size() == 5000


def test_size_is_never_below_the_files() -> None:
    heap = Heap()
    with MemoryMeter(heap).measure(600) as size:
        heap.used -= 100
    assert size() == 600


def test_what_is_freed_meanwhile_is_not_subtracted() -> None:
    heap = Heap()
    meter = MemoryMeter(heap)
    with meter.measure(10) as first:
        heap.used += 700
    with meter.measure(10) as second:
        heap.used += 500
        heap.used -= 700
        meter.freed(first())
    assert (first(), second()) == (700, 500)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1 << 27, 1 << 28)), min_size=1, max_size=30))
def test_overlapping_work_shares_all_of_the_growth(steps: list[tuple[int, int]]) -> None:
    """Each step toggles one of four pieces of work, then the heap grows."""
    heap = Heap()
    meter = MemoryMeter(heap)
    running: dict[int, tuple[AbstractContextManager[Callable[[], int]], Callable[[], int]]] = {}
    sizes: list[Callable[[], int]] = []
    caused = 0

    def end(piece: int) -> None:
        context, size = running.pop(piece)
        context.__exit__(None, None, None)
        sizes.append(size)

    for piece, growth in steps:
        if piece in running:
            end(piece)
        else:
            context = meter.measure((5 + piece) << 20)
            running[piece] = (context, context.__enter__())
        heap.used += growth
        caused += growth if running else 0
    for piece in list(running):
        end(piece)
    # Each piece is rounded.
    assert abs(sum(size() for size in sizes) - caused) <= len(sizes)
