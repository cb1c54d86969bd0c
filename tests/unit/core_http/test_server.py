"""Server processes: workers, signals, deaths, the port, and what /metrics adds up."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenantry_core.version import VERSION
from unit.core_http.harness import PATIENCE, Client, eventually, get

COMMAND = [sys.executable, str(Path(__file__).with_name("application.py"))]


class Process:
    """The command and the port that it has announced."""

    def __init__(self, *arguments: str) -> None:
        self.popen = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
        assert self.popen.stderr is not None
        self.announcement = self.popen.stderr.readline()
        match = re.search(r"http://127\.0\.0\.1:(\d+)", self.announcement)
        assert match, self.announcement
        self.port = int(match[1])

    def pid_that_answers(self) -> int:
        with Client(self.port) as client:
            return int(client.ask(get("/pid")).body)

    def workers(self) -> set[int]:
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text()
        return {int(pid) for pid in children.split()}

    def metric(self, name: str) -> float:
        with Client(self.port) as client:
            text = client.ask(get("/metrics")).body.decode()
        match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(match[1]) if match else 0.0


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Process]:
    process = Process(*arguments)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.wait()


def is_running(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_lets_requests_finish(number: signal.Signals, workers: str) -> None:
    with running("--workers", workers) as process, Client(process.port) as client:
        assert process.pid_that_answers()
        client.send(get("/pid"), get("/hold"))
        client.answer()  # so the request behind it has arrived too
        process.popen.send_signal(number)
        answer = client.answer()
        assert (answer.body, answer.headers.get("connection")) == (b"held", "close")
        assert process.popen.wait(PATIENCE) == 0
        assert process.popen.stderr is not None
        assert "Traceback" not in process.popen.stderr.read()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_taken_port_is_said_at_once(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [*COMMAND, "--port", str(port), "--workers", workers]
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert result.stderr == f"Port {port} of 127.0.0.1 is in use by another process.\n"
        assert result.returncode == 1


def test_a_second_server_of_the_same_kind_does_not_share_the_port() -> None:
    with running("--workers", "2") as process:
        command = [*COMMAND, "--port", str(process.port), "--workers", "2"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert "in use" in result.stderr


def test_workers_share_the_load_and_name_themselves() -> None:
    with running("--workers", "2") as process:
        answering = {process.pid_that_answers() for _ in range(50)}
        assert answering == process.workers()
        commands = {tuple(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-3:-1]) for pid in answering}
        assert commands == {(b"--worker", b"1"), (b"--worker", b"2")}


def test_connections_are_bounded_by_the_hard_limit_of_the_system() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with running() as server:
            limits = Path(f"/proc/{server.popen.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    match = re.search(r"^Max open files +(\d+) +(\d+)", limits, re.MULTILINE)
    assert match is not None
    assert match[1] == match[2]


def test_no_connection_is_lost_when_a_worker_dies() -> None:
    with running("--workers", "2") as process:
        victim = process.pid_that_answers()
        os.kill(victim, signal.SIGSTOP)  # connections queue at its socket
        clients = [Client(process.port) for _ in range(20)]
        for client in clients:
            client.send(get("/pid"))
        os.kill(victim, signal.SIGKILL)
        answering = {int(client.answer().body) for client in clients}
        assert victim not in answering
        assert answering == process.workers()


def test_workers_die_with_a_parent_that_is_killed() -> None:
    with running("--workers", "2") as process:
        process.pid_that_answers()
        workers = process.workers()
        process.popen.kill()
        eventually(lambda: not any(map(is_running, workers)), "all workers gone")
        process.popen.wait()
        with running("--port", str(process.port)) as successor:
            assert successor.pid_that_answers() == successor.popen.pid


def test_metrics_add_up_over_workers_and_outlive_them() -> None:
    with running("--workers", "2") as process:
        answering = [process.pid_that_answers() for _ in range(40)]
        assert len(set(answering)) == 2
        assert process.metric('test_requests_total{path="/pid"}') == 40
        assert process.metric('test_seconds_bucket{le="0.1"}') == 0
        assert process.metric('test_seconds_bucket{le="1.0"}') == 40
        assert process.metric("test_seconds_sum") == 20
        eventually(lambda: process.metric("test_alive") == 2, "both workers are alive")
        os.kill(answering[0], signal.SIGKILL)
        eventually(lambda: len(process.workers() - {answering[0]}) == 2, "a successor")
        assert process.metric('test_requests_total{path="/pid"}') == 40
        eventually(lambda: process.metric("test_alive") == 2, "both workers are alive again")


def test_metrics_tell_of_requests_that_were_refused_and_of_the_process() -> None:
    with running() as process:
        for _ in range(3):
            with Client(process.port) as client:
                client.send(b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999\r\n\r\n")
                assert client.answer().status == 413
        with Client(process.port) as client:
            client.send(b"nonsense\r\n\r\n")
            assert client.answer().status == 400
        assert process.metric('tenantry_http_refused_total{status="413"}') == 3
        assert process.metric('tenantry_http_refused_total{status="400"}') == 1
        assert process.metric(f'tenantry_build_info{{version="{VERSION}"}}') == 1
        assert process.metric("process_resident_memory_bytes") > 1 << 20


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_is_still_starting_can_be_stopped(workers: str) -> None:
    with running("--workers", workers) as process:
        process.popen.terminate()
        assert process.popen.wait(PATIENCE) == 0
