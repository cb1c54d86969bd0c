"""Does what a page says: writes its files, runs its commands, compares what they print."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from docs.comparing import agrees
from docs.pages import Command, File, steps
from integration.local.running import Up

_COMMAND_SECONDS = 240.0
_ASK_AGAIN_SECONDS = 60.0
_ASKS = re.compile(r"(\w+=\S+ )*(curl|tenantry (get|describe|explain|predict)) .*", re.DOTALL)
_EXPECTED_FAILURE = re.compile(r"[Ee]rror")


def follow(
    page: str,
    place: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    substitutes: Mapping[str, str] | None = None,
) -> None:
    """Follow `docs/<page>` in the folder `place`, which must be empty, with a `tenantry up` of these options.

    `environment` is added to the commands' own; `substitutes` are texts of the page and what stands for them
    here. Raises AssertionError that names the page's line.
    """
    work = place / "work"
    work.mkdir()
    with Up(place / "demo", "--allow", f"file://{work}/", *options) as up:
        texts = {
            "127.0.0.1:8080": up.url.removeprefix("http://"),
            "127.0.0.1:9000": up.told["grpc"],
            "/tmp/demo": str(up.directory.path),
            **(substitutes or {}),
        }
        with Shell(work, {"TENANTRY_STATE": str(up.directory.path), **(environment or {})}) as shell:
            for step in steps(page):
                if isinstance(step, File):
                    (work / step.name).parent.mkdir(parents=True, exist_ok=True)
                    (work / step.name).write_text(substituted(step.content, texts))
                else:
                    _check(page, step, shell, texts)


def substituted(text: str, texts: Mapping[str, str]) -> str:
    for given, own in texts.items():
        text = text.replace(given, own)
    return text


def _check(page: str, command: Command, shell: Shell, texts: Mapping[str, str]) -> None:
    text = substituted(command.text, texts)
    shown = [substituted(line, texts) for line in command.shown]
    may_fail = any(_EXPECTED_FAILURE.match(line) for line in shown)
    deadline = time.monotonic() + (_ASK_AGAIN_SECONDS if _ASKS.fullmatch(text) else 0.0)
    while True:
        printed, code = shell.run(text)
        lines = [line for line in printed.rstrip().split("\n") if not line.startswith("target: ")]
        fits = not shown or agrees(shown, lines)
        if fits and (code == 0 or may_fail):
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(0.2)
    wanted = "\n".join(shown) or "success"
    raise AssertionError(
        f"docs/{page}:{command.line}: $ {text}\n--- shown\n{wanted}\n--- printed, exit code {code}\n{printed}"
    )


class Shell:
    """One bash for all commands of a page, so that `cd` and `export` last."""

    def __init__(self, work: Path, environment: Mapping[str, str]) -> None:
        self._folder = work.with_name("shell")
        self._folder.mkdir()
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {name: value for name, value in os.environ.items() if not name.startswith("TENANTRY_")}
        home = {"HOME": str(self._folder), "XDG_STATE_HOME": str(self._folder), "COLUMNS": "200"}
        # What Go has compiled of its own library stays: it takes a minute.
        home["GOCACHE"] = own.pop("GOCACHE", str(Path.home() / ".cache" / "go-build"))
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=work,
            env={**own, **home, "PATH": programs, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # and what it started in the background
        self._process.communicate()

    def run(self, command: str) -> tuple[str, int]:
        """What the command printed on stdout and stderr, and its exit code."""
        script, output = self._folder / "command", self._folder / "output"
        script.write_text(command + "\n")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"source '{script}' > '{output}' 2>&1 < /dev/null; echo $?\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], _COMMAND_SECONDS)[0]:
            raise AssertionError(f"after {_COMMAND_SECONDS:.0f} s still running: {command}")
        return output.read_text(errors="replace"), int(self._process.stdout.readline() or 1)
