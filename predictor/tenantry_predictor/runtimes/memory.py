"""How many bytes a model takes: the C heap's growth while it is made.

`mallinfo2` (glibc 2.33) adds up what `malloc` has handed out over all arenas and not got back, mapped blocks
included. That is where ONNX Runtime keeps weights, graph and kernels. It is exact to the byte where RSS
counts pages, which a small model may find free already. Python objects below 512 bytes are not in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator

_M_MMAP_THRESHOLD = -3
_MMAP_BYTES = 128 * 1024
_SMALL_BYTES = 4 * 1024 * 1024


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def _heap_reader() -> Callable[[], int] | None:
    """Bytes in use on the C heap; None where the C library cannot say (not glibc, or an old one)."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return None
    mallinfo2.restype = _Mallinfo2

    def read() -> int:
        info = mallinfo2()
        return int(info.uordblks) + int(info.hblkhd)

    return read


def return_freed_memory() -> None:
    """Have large blocks mapped one by one, so that the kernel has them back when they are freed.

    By default glibc raises its threshold to the largest block freed so far, and what loads leave behind
    stays in holes between small blocks: up to 2 MB for each model of 1 MB.
    """
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)


class Measurement:
    """Bytes attributed so far to one piece of work."""

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.bytes = 0.0


class MemoryMeter:
    """Attributes the heap's growth to the pieces of work that ran meanwhile.

    Alone, a piece gets exactly what the heap grew by. Small ones, which take milliseconds on the one core of
    a slot, take turns; large ones run beside them, as nobody shall wait for seconds. Pieces that overlap
    share the growth of the time they overlap by weight, so their sum stays exact: that is what a budget
    needs.
    """

    def __init__(self, heap: Callable[[], int] | None = None) -> None:
        self._heap = heap or _heap_reader()
        self._running: list[Measurement] = []
        self._last = 0
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def measure(self, file_bytes: int) -> Iterator[Callable[[], int]]:
        """Yields a function that tells the size once the block has ended: at least `file_bytes`.

        The serialised size is the floor, for the weights are in memory in one form or another; where the
        heap cannot be read the size is taken as four times that.
        """
        piece = Measurement(max(file_bytes, 1))
        with self._turn if file_bytes <= _SMALL_BYTES else contextlib.nullcontext():
            with self._lock:
                self._settle()
                self._running.append(piece)
            try:
                yield lambda: max(round(piece.bytes), file_bytes) if self._heap else 4 * file_bytes
            finally:
                with self._lock:
                    self._settle()
                    self._running.remove(piece)

    def freed(self, size: int) -> None:
        """A measured piece was just given back: what runs meanwhile has not shrunk by it."""
        with self._lock:
            self._last -= size

    def _settle(self) -> None:
        if self._heap is None:
            return
        now = self._heap()
        total = sum(piece.weight for piece in self._running)
        for piece in self._running:
            piece.bytes += (now - self._last) * piece.weight / total
        self._last = now


METER = MemoryMeter()
"""The process has one heap, hence one meter."""
