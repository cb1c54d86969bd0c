"""Stores that hang, trickle or send without end hold up nobody who reads elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Lock

import httpx
import pytest

from artifacts import graphs
from contract.hub_server import HubServer, install_hub_store
from integration.predictor.processes import PredictorProcess, model, problem
from integration.waiting import wait_for

TENANTS = 80
"""More than a store has threads."""
DEADLINE = 30.0
HUGE = 64 << 20


@dataclass
class Setting:
    predictor: PredictorProcess
    good: HubServer
    bad: HubServer
    threads: ThreadPoolExecutor

    def ask_good(self, name: str, weight: float) -> dict[str, str]:
        """How the artifact of another tenant is asked for, in the store that works."""
        data = graphs.linear([weight])
        self.good.files[f"/{name}.onnx"] = data
        uri = self.good.uri(f"/{name}.onnx")
        return model(name, uri, graphs.digest(data), tenant=f"good-{name}")

    def ask_bad(
        self, path: str, tenant: str, answer: Callable[[BaseHTTPRequestHandler], None], timeout: str = "30s"
    ) -> Future[httpx.Response]:
        self.bad.answers[path] = answer
        asked = model(tenant, self.bad.uri(path), tenant=tenant) | {"Tenantry-Timeout": timeout}
        return self.threads.submit(self.predictor.predict, asked, [[1]])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_hub_store(tmp_path_factory.mktemp("hub-store"))


@pytest.fixture(scope="module")
def servers() -> Iterator[list[HubServer]]:
    """The first one works; each test that ends one takes another."""
    with ExitStack() as stack:
        yield [stack.enter_context(HubServer()) for _ in range(8)]


@pytest.fixture(scope="module")
def predictor(
    tmp_path_factory: pytest.TempPathFactory, package: Path, servers: list[HubServer]
) -> Iterator[PredictorProcess]:
    with start_predictor(tmp_path_factory.mktemp("slow"), package, servers) as process:
        yield process


def start_predictor(folder: Path, package: Path, servers: Sequence[HubServer]) -> PredictorProcess:
    prefixes = [flag for server in servers for flag in ("--prefix", server.uri("/"))]
    prefixes += ["--prefix", "ftp://host/"]
    return PredictorProcess(folder, *prefixes, "--ready-after", "0", PYTHONPATH=str(package))


@pytest.fixture
def setting(predictor: PredictorProcess, servers: list[HubServer]) -> Iterator[Setting]:
    bad = servers.pop()
    with ThreadPoolExecutor(TENANTS) as threads:
        yield Setting(predictor, servers[0], bad, threads)
        bad.ended.set()


@pytest.mark.parametrize("where", ["at once", "in the head", "in the body"])
def test_a_host_that_hangs_or_trickles_delays_no_load_from_another(setting: Setting, where: str) -> None:
    reached, count = Lock(), [0]

    def hold_up(request: BaseHTTPRequestHandler) -> None:
        with reached:
            count[0] += 1
        body = b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 1000000\r\n\r\n"
        request.wfile.write({"at once": b"", "in the head": body[:20], "in the body": body}[where])
        with suppress(OSError):
            while not setting.bad.ended.wait(0.2):
                if where != "at once":
                    request.wfile.write(b"x")

    held_up = [setting.ask_bad(f"/{i}.onnx", f"bad{i}", hold_up) for i in range(TENANTS)]
    wait_for(lambda: count[0] == 32, DEADLINE, "the bad host holds as many threads as one may")
    wait_for(lambda: setting.predictor.slot().get("inFlight", 0) == TENANTS, DEADLINE, "all others wait")
    for number in range(1, 11):
        asked = setting.ask_good(f"{where}{number}".replace(" ", "-"), number)
        assert setting.predictor.predict(asked, [[1]]).json() == [float(number)]
    assert not any(future.done() for future in held_up)
    setting.bad.ended.set()
    for future in held_up:
        assert problem(future.result())["status"] in (503, 504)


def test_threads_that_a_store_holds_up_do_not_hold_up_the_end(
    tmp_path: Path, package: Path, servers: list[HubServer]
) -> None:
    reached, bad = Event(), servers.pop()

    def trickle_head(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nETag: ")
        reached.set()
        with suppress(OSError):
            while not bad.ended.wait(0.2):
                request.wfile.write(b"x")

    with start_predictor(tmp_path, package, [bad]) as predictor, ThreadPoolExecutor(1) as threads:
        held_up = Setting(predictor, bad, bad, threads).ask_bad("/a.onnx", "bad", trickle_head, timeout="1s")
        assert reached.wait(DEADLINE)
        assert problem(held_up.result())["status"] == 504  # the request ends; the thread goes on
        predictor.kill(signal.SIGTERM)
        assert predictor.wait() == 0
        assert not bad.ended.is_set()


def test_a_huge_artifact_leaves_bandwidth_to_small_ones(setting: Setting) -> None:
    """The huge ones end only when the small ones have: whoever starved would never end."""
    done, lock, under_way, most = Event(), Lock(), [0], [0]

    def send_much(request: BaseHTTPRequestHandler) -> None:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        request.wfile.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: %d\r\n\r\n" % HUGE)
        with suppress(OSError):
            sent = 0
            while sent < HUGE - 1:
                sent += request.connection.send(b"\0" * min(1 << 20, HUGE - 1 - sent))
            done.wait(DEADLINE)
            request.wfile.write(b"\0")
        with lock:
            under_way[0] -= 1

    huge = [setting.ask_bad(f"/{i}.onnx", "greedy", send_much) for i in range(8)]
    wait_for(lambda: under_way[0] == 4, DEADLINE, "four of the eight are under way")
    for number in range(1, 31):
        asked = setting.ask_good(f"s{number}", number)
        assert setting.predictor.predict(asked, [[1]]).json() == [float(number)]
    assert not any(future.done() for future in huge)
    done.set()
    assert {problem(future.result())["reason"] for future in huge} == {"LoadFailed"}
    assert most[0] == 4


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("ftp://host/m.onnx", "no store for ftp:// is installed in this predictor"),
        ("gopher://host/m.onnx", "gopher:// is only read below one of the pool's storage.prefixes"),
    ],
)
def test_a_store_that_is_not_there_is_named(predictor: PredictorProcess, uri: str, words: str) -> None:
    refusal = problem(predictor.predict(model("m", uri), [[1]]))
    assert refusal["reason"] == "OutsideAllowedStorage"
    assert words in refusal["error"]
