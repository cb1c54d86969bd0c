"""The same requests through each proxy, before slots that count."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from processes import free_port, pinned, running
from proxies import router
from routing_plan import POOL, Placement, entry, model_key
from tenantry_core.slices import SliceContent
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder
from wrk import Server

_SCRIPT = """
wrk.headers["Content-Type"] = "application/json"
local requests, trace, turn, answered = {{}}, {{}}, 0, 0
function init()
  for line in io.lines("{trace}") do
    local path = "/predict/m" .. line
    requests[line] = requests[line] or wrk.format("POST", path, wrk.headers, "[[1]]")
    trace[#trace + 1] = line
  end
end
function request()
  turn = turn % #trace + 1
  return requests[trace[turn]]
end
function response()
  answered = answered + 1
  if answered == #trace then io.write("ANSWERED\\n") io.flush() end
end
function done(summary)
  local e = summary.errors
  io.write(string.format("\\nERRORS %d\\n", e.connect + e.read + e.write + e.timeout + e.status))
end
"""


class Slots:
    """Real listening ports for slots, in a process that counts."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.ports = _free_ports(len(names))

    @contextlib.contextmanager
    def running(self, milliseconds: float) -> Iterator[None]:
        script = str(Path(__file__).with_name("counting_slots.py"))
        command = [sys.executable, script, str(milliseconds), *map(str, self.ports)]
        with running(command, self.ports[-1], core=-1):
            yield

    def counts(self) -> dict[str, int]:
        """Requests by slot since the last time."""
        return {self._name(int(port)): count for port, count in self._ask("counts").items()}

    def keys(self) -> dict[str, str]:
        """The slot of each path that was asked for since the last time."""
        return {path: self._name(port) for path, port in self._ask("keys").items()}

    def _name(self, port: int) -> str:
        return self.names[self.ports.index(port)]

    def _ask(self, what: str) -> dict[str, int]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[0]}/{what}", timeout=10) as answer:
            told: dict[str, int] = json.load(answer)
        return told


def _free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return sorted(ports)


def tenantry(folder: Path, slots: Slots, placed: Placement) -> AbstractContextManager[Server]:
    """The router, from a folder with this placement in it."""
    snapshot = SnapshotFolder(folder / "snapshot")
    entries = tuple(entry(number, placed[model_key(number)]) for number in range(len(placed)))
    snapshot.write_slice("placement-0-0", SliceContent(entries))
    pairs = zip(slots.names, slots.ports, strict=True)
    snapshot.write_addresses(
        AddressBook(tuple(SlotAddress(name, POOL, "127.0.0.1", {"http": at}) for name, at in pairs))
    )
    return router(snapshot.path)


def send(folder: Path, port: int, slots: Slots, trace: Sequence[int], connections: int) -> dict[str, int]:
    """Requests that each slot got when these were sent. Exits where some were not answered well."""
    _wait_for_answer(f"http://127.0.0.1:{port}/predict/m{trace[0]}")
    slots.counts()
    slots.keys()
    listed, script = folder / "trace.txt", folder / "trace.lua"
    listed.write_text("".join(f"{number}\n" for number in trace))
    script.write_text(_SCRIPT.format(trace=listed))
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        "-d120s",
        "--timeout",
        "60s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}",
    ]
    process = subprocess.Popen([*pinned(-1), *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    errors = None
    for line in process.stdout:
        if line.startswith("ANSWERED"):
            process.send_signal(signal.SIGINT)  # wrk goes on until its time is up, or for this
        elif line.startswith("ERRORS"):
            errors = int(line.split()[1])
    process.wait()
    counts = slots.counts()
    if errors != 0 or sum(counts.values()) < len(trace):
        sys.exit(f"Of {len(trace)} requests {sum(counts.values())} arrived; errors: {errors}.")
    return counts


def _wait_for_answer(url: str) -> None:
    """A router has its port before it has its table."""
    request = urllib.request.Request(url, b"[[1]]", {"Content-Type": "application/json"})
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(request, timeout=10).close()
            return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
