"""The shared token is rotated under load, as Helm and kubelets do it: not one request is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from artifacts.graphs import digest, linear
from cluster.ports import free_ports
from integration.router.processes import ServerProcess, address, entry, http, write_snapshot
from integration.waiting import wait_for
from load.background import Background
from load.target import Target, post
from tenantry_core.slices import Reference
from tenantry_core.slices import Target as Placed

SLOTS = ("default-0", "default-1")
HURRIED = (
    "import tenantry_core.tokens as tokens; tokens.LOOK_SECONDS = 0.2; tokens.PATIENCE_SECONDS = 10.0; "
    "from {part}.__main__ import main; main()"
)
"""A part's own command, with minutes made seconds."""


class Volume:
    """A Secret as the kubelet mounts it: files are links into a folder that is exchanged as a whole."""

    def __init__(self, folder: Path, *tokens: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._writes = 0
        self.path = folder / "token"
        self.path.symlink_to("..data/token")
        self.write(*tokens)

    def write(self, *tokens: str) -> None:
        self._writes += 1
        content = self._folder / f"..{self._writes}"
        content.mkdir()
        (content / "token").write_text("".join(f"{token}\n" for token in tokens))
        link = self._folder / "..data_tmp"
        link.symlink_to(content.name)
        os.replace(link, self._folder / "..data")


class World:
    """Two predictors and a router, each with a volume of its own."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        (folder / "models").mkdir()
        self._stack, self._folder = stack, folder
        self.volumes = {name: Volume(folder / f"token-{name}", "one") for name in (*SLOTS, "router")}
        self.volumes["late"] = Volume(folder / "token-late", "two", "one")
        self.predictors = {
            slot: self._start("tenantry_predictor", slot, self._predictor(slot)) for slot in SLOTS
        }
        addresses = [address(slot, process.port) for slot, process in self.predictors.items()]
        data = linear((3.0, 2.0), columns=("a", "b"))
        path = folder / "models" / "acme.onnx"
        path.write_bytes(data)
        placed = Placed(Reference(f"file://{path}", "onnx", digest(data)), SLOTS)
        self._snapshot = write_snapshot(folder / "s", [entry("m.acme", SLOTS, targets=(placed,))], addresses)
        self.router = self.start_router("router")

    def start_router(self, volume: str) -> ServerProcess:
        return self._start("tenantry_router", volume, ["--snapshot", str(self._snapshot.path)])

    def accepted(self, slot: str, token: str) -> bool:
        answer = http.get(f"{self.predictors[slot].url}/v2/slot", headers={"Tenantry-Token": token})
        assert answer.status_code in (200, 401)
        return answer.is_success

    def _predictor(self, slot: str) -> list[str]:
        cache = ["--slot", slot, "--ready-after", "0", "--cache-dir", str(self._folder / f"cache-{slot}")]
        return [*cache, "--prefix", f"file://{self._folder}/models/"]

    def _start(self, part: str, volume: str, arguments: list[str]) -> ServerProcess:
        [port] = free_ports(1)
        command = ["-c", HURRIED.format(part=part), "--port", str(port), *arguments]
        command += ["--token-file", str(self.volumes[volume].path)]
        process = ServerProcess(command, port, self._folder / f"{volume}-{port}.log", {})
        return self._stack.enter_context(process)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack, tmp_path)


def test_no_request_is_refused_while_the_token_rotates(world: World) -> None:
    requests = [post(f"/predict/acme:{user}", b"[[1, 1]]") for user in range(20)]
    with Background(Target.parse(world.router.url), requests, rate=100) as load:
        wait_for(lambda: load.answers, 60, "requests are answered")
        # The router's node is the first to hear of it, a predictor's the last.
        late = world.start_router("late")
        assert ask(late) == 200, "a router that starts meanwhile is accepted"
        world.volumes["router"].write("two", "one")
        for slot in SLOTS:
            world.volumes[slot].write("two", "one")
            wait_for(lambda slot=slot: world.accepted(slot, "two"), 60, f"{slot} knows it")  # type: ignore[misc]
            assert world.accepted(slot, "one")
        wait_for(lambda: "another token is sent" in world.router.log.read_text(), 60, "the router sends it")
        wait_for(lambda: "another token is sent" in late.log.read_text(), 60, "so does the other one")
        for volume in world.volumes.values():
            volume.write("two")
        for slot in SLOTS:
            wait_for(lambda slot=slot: not world.accepted(slot, "one"), 60, "the old one is worth nothing")  # type: ignore[misc]
        answered = len(load.answers)
        wait_for(lambda: len(load.answers) > answered + 100, 60, "requests go on")
        assert ask(late) == 200
    assert load.broken == []
    assert {answer.status for answer in load.answers} == {200}


def ask(router: ServerProcess) -> int:
    return http.post(f"{router.url}/predict/acme:1", json=[[1, 1]]).status_code
