"""The load generator counts what happens, and stops when it should."""

from __future__ import annotations

import socket
import socketserver
import threading

import pytest

from integration.waiting import wait_for
from load.background import Background
from load.generator import measure
from load.target import NotOurs, Target, post
from unit.core_http.harness import serving


def test_counts_statuses_and_latencies() -> None:
    with serving() as server:
        target = Target.parse(f"http://127.0.0.1:{server.port}")
        paths = ["/echo", "/nothing"]
        result = measure(
            target, lambda n: post(paths[n % 2], b"%d" % n), connections=4, count=100, seconds=10
        )
    assert result.statuses == {200: 50, 404: 50}
    assert (len(result.latencies), result.errors, result.broken.total()) == (100, 50, 0)
    assert 0 < result.p50 <= result.p99
    assert result.throughput > 0


def test_wrong_answers_are_errors() -> None:
    with serving() as server:
        target = Target.parse(f"http://localhost:{server.port}")
        result = measure(
            target,
            lambda n: post("/echo", b"%d" % n),
            connections=2,
            count=10,
            seconds=10,
            check=lambda number, status, body: body == b"echo::%d" % number and number != 3,
        )
    assert (result.wrong, result.errors) == (1, 1)


def test_time_and_rate_bound_it() -> None:
    with serving() as server:
        target = Target.parse(f"http://127.0.0.1:{server.port}")
        result = measure(
            target, lambda _: post("/echo", b""), connections=2, count=10**6, seconds=1.0, rate=100
        )
    assert 0 < result.answered <= 100


def test_connections_that_break_are_errors_and_opened_again() -> None:
    with serving() as server:
        target = Target.parse(f"http://127.0.0.1:{server.port}")
        requests = [post("/echo", b""), b"nonsense\r\n\r\n"]
        result = measure(target, lambda n: requests[n % 2], connections=2, count=20, seconds=10)
    assert result.statuses == {200: 10, 400: 10}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = measure(Target("127.0.0.1", port), lambda _: b"", connections=2, count=5, seconds=10)
    assert result.answered == 0
    assert result.broken.total() == result.errors == 5


def test_a_load_in_the_background_is_watched_while_it_lasts() -> None:
    with serving() as server:
        target = Target.parse(f"http://127.0.0.1:{server.port}")
        requests = [post("/echo", b"a"), post("/nothing", b"")]
        with Background(target, requests, rate=200, connections=4) as load:
            wait_for(lambda: len(load.answers) >= 40, 60.0, "40 answers while it lasts")
        assert not load.broken
    numbers = sorted(answer.number for answer in load.answers)
    assert numbers == list(range(len(numbers)))
    assert {(a.number % 2, a.status) for a in load.answers} == {(0, 200), (1, 404)}
    assert all(answer.latency > 0 for answer in load.answers)


class Moody(socketserver.StreamRequestHandler):
    """Closes the first connections without an answer, serves the others."""

    closed = 0
    lock = threading.Lock()

    def handle(self) -> None:
        while self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            with self.lock:
                type(self).closed += 1
                if self.closed <= 3:
                    return
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTenantry-Route: slot=a-0\r\nContent-Length: 0\r\n\r\n")


def test_a_client_that_tries_again_counts_the_connections_that_broke() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Moody) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        target = Target("127.0.0.1", server.server_address[1])
        with Background(target, [post("/", b"")], rate=200, connections=2, retries=3) as load:
            wait_for(lambda: len(load.answers) >= 20, 60.0, "20 answers")
        server.shutdown()
    assert len(load.broken) == 3
    assert all(event.again for event in load.broken)
    numbers = sorted(answer.number for answer in load.answers)
    assert numbers == list(range(len(numbers)))
    assert {(answer.status, answer.route) for answer in load.answers} == {(200, "slot=a-0")}


def test_it_goes_nowhere_else() -> None:
    with pytest.raises(NotOurs):
        Target.parse("http://192.0.2.1/")
    with pytest.raises(NotOurs):
        Target.parse("http://192.0.2.1/", own=("192.0.2.1",))
