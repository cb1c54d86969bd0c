"""A `tenantry up` of a test's own: the real command, in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from cluster.processes import Process
from integration import artifacts
from integration.waiting import wait_for
from tenantry_operator.local.directory import StateDirectory

UP_SECONDS = 200.0
"""More than `up` itself gives its parts, so that its own words are seen."""


class Up:
    """Started on entry, ended on exit; `interrupt`, `kill` and `start` do it in between."""

    def __init__(self, state: Path, *options: str) -> None:
        self.directory = StateDirectory(state)
        self.output = state.with_name(f"{state.name}.out")
        command = [sys.executable, "-m", "tenantry.main", "up", "--state", str(state), *options]
        for option in ("--port", "--grpc-port"):
            command += [] if option in options else [option, "0"]
        self._process = Process(command, self.output)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.stop()

    def start(self) -> None:
        """Returns when everything is up, as the table on its output tells."""
        before = len(self.text)
        self._process.start()
        self._process.wait_until(lambda: "Ctrl-C stops everything" in self.text[before:], UP_SECONDS)

    @property
    def text(self) -> str:
        """All that it has printed."""
        return self.output.read_text() if self.output.exists() else ""

    @property
    def told(self) -> dict[str, Any]:
        """What it tells other commands of itself."""
        content: dict[str, Any] = json.loads(self.directory.up.read_bytes())
        return content

    @property
    def url(self) -> str:
        return str(self.told["url"])

    def pid(self, role: str) -> int:
        return int(self.told["pids"][role])

    def wait_ready(self, *slots: str) -> None:
        """Until these slots, and no others, take requests."""
        wait_for(lambda: self.ready_slots() == sorted(slots), UP_SECONDS, f"exactly {slots} are ready")

    def ready_slots(self) -> list[str]:
        book = json.loads((self.directory.router / "addresses.json").read_bytes())
        return sorted(slot["slot"] for slot in book["slots"] if slot.get("ready", True))

    def put(self, name: str, content: bytes) -> str:
        """Lay an artifact where models may lie; its URI."""
        path = self.directory.models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"file://{path}"

    def manifest(self, name: str, slope: float, **spec: Any) -> str:
        """A model that answers `slope * x`, as a document to apply."""
        content = artifacts.linear(slope, 0.0)
        digest = artifacts.digest(content)
        uri = self.put(f"{name}/{digest}.onnx", content)
        head = {"apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantModel", "metadata": {"name": name}}
        return json.dumps({**head, "spec": {"artifact": {"uri": uri, "sha256": digest}, **spec}})

    def predict(self, user: str, x: float = 1.0) -> httpx.Response:
        return httpx.post(f"{self.url}/predict/{user}", json=[[x]], trust_env=False, timeout=30.0)

    def wait_for_answer(self, user: str, value: float) -> None:
        wait_for(lambda: self._answer(user) == [value], 60.0, f"{user} is answered {value}")

    def _answer(self, user: str) -> Any:
        try:
            response = self.predict(user)
        except httpx.HTTPError as error:
            return str(error)
        return response.json()


def is_alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def descendants(pid: int) -> list[int]:
    """Every process below this one, as the kernel knows them now."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def processes_of(state: Path) -> list[int]:
    """Every process whose command line names the state directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(state).encode() in command and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found
