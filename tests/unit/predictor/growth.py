"""What a process grows by with its models, beside what they say that they take."""

from __future__ import annotations

import subprocess
import sys

_BEFORE = f"""
import sys
sys.path[:0] = {sys.path!r}
from artifacts import graphs
from tenantry_predictor.runtimes import onnx
"""
_AFTER = """
def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

for number in range({first}):
    load(number)
before, used = resident_bytes(), used_bytes()
for number in range({first}, {last}):
    load(number)
print(resident_bytes() - before, used_bytes() - used)
"""


def growth(script: str, *, first: int, last: int) -> tuple[int, int]:
    """Bytes that the process grew by, and that it knows of, from model `first` up to `last`.

    `script` defines `load(number)`, which keeps a model, and `used_bytes()`. It runs in a process of its own:
    this one may have room left from what earlier tests gave back.
    """
    program = _BEFORE + script + _AFTER.format(first=first, last=last)
    grown, known = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    return int(grown), int(known)
