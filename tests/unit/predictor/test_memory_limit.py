"""The limit of a predictor's own memory, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys, threading
from pathlib import Path
from tenantry_predictor import memory_limit

memory_limit._CGROUP_FILES = (Path(sys.argv[1]),)
memory_limit.limit_memory(64 << 20)
kept = bytearray(int(sys.argv[2]) << 20)
print("kept", flush=True)
threads = [threading.Thread(target=lambda: None) for _ in range(8)]
for thread in threads: thread.start()
try:
    bytearray(2 << 30)
except MemoryError:
    print("refused")
"""


@pytest.mark.parametrize(
    ("container", "mebibytes", "printed"),
    [
        ("max", 900, ["kept", "refused"]),
        (str(512 << 20), 200, ["kept", "refused"]),
        (str(512 << 20), 700, []),
        (str(1 << 62), 900, ["kept", "refused"]),
    ],
    ids=["no-limit", "within-the-container", "beyond-the-container", "version-1-without-limit"],
)
def test_grows_by_the_lesser_of_the_two(
    tmp_path: Path, container: str, mebibytes: int, printed: list[str]
) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{container}\n")
    command = [sys.executable, "-c", SCRIPT, str(limit), str(mebibytes)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.split() == printed
    assert ("MemoryError" in ended.stderr) == (not printed)
