"""Slots that die, hang and come back, under load: what the router's clients notice of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from integration.router.conftest import SLOTS, Service
from integration.router.processes import (
    address,
    entry,
    http,
    start_router,
    start_upstream,
    wait_until,
    write_snapshot,
)
from load.generator import measure
from load.result import Result
from load.target import Target, post
from tenantry_core.snapshot import AddressBook

PATIENCE = 60.0
"""Seconds, of which a machine with nothing else to do needs one or two."""


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("faults")
    with ExitStack() as stack:
        upstreams = {slot: stack.enter_context(start_upstream(slot, folder)) for slot in SLOTS}
        snapshot = write_snapshot(
            folder / "snapshot", [entry("models.acme", SLOTS), entry("models.single", SLOTS[:1])], ()
        )
        yield Service(stack.enter_context(start_router(snapshot.path)), upstreams, snapshot)


@pytest.fixture
def own(breakable: Service) -> Service:
    """A router and upstreams that a test may break; mended before the next one."""
    for process in (*breakable.upstreams.values(), breakable.router):
        if not process.is_running():
            process.start()
    for slot in SLOTS:
        say(breakable, slot, "trust")
    book = tuple(address(slot, upstream.port) for slot, upstream in breakable.upstreams.items())
    breakable.snapshot.write_addresses(AddressBook(book))
    # A slot comes back when the time that it was put out for has passed.
    wait_until(partial(are_available, breakable), PATIENCE, "all slots are back")
    return breakable


class Load:
    """Requests of many users, as long as the block lasts."""

    def __init__(self, url: str) -> None:
        self.result = Result()
        self.refusals: list[bytes] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(url,))

    def _run(self, url: str) -> None:
        while not self._ended.is_set():
            part = measure(
                Target.parse(url),
                lambda number: post(f"/predict/acme:{number % 50}", b"[[1]]"),
                connections=8,
                count=10**9,
                seconds=1.0,
                rate=400,
                check=self._check,
            )
            self.result.statuses += part.statuses
            self.result.broken += part.broken
            self.result.wrong += part.wrong

    def go_on(self) -> None:
        """Returns after some more answers."""
        seen = self.result.answered
        wait_until(lambda: self.result.answered > seen, PATIENCE, "requests are answered")

    def _check(self, number: int, status: int, body: bytes) -> bool:
        """Keep what went wrong, for the message of the failing test."""
        if status != 200:
            self.refusals.append(body)
        return status == 200

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def slot_of(service: Service, user: str) -> str:
    document = http.get(f"{service.url}/explain/{user}").json()
    return str(document["slot"])


def are_available(service: Service) -> bool:
    return all(is_available(service, slot) for slot in SLOTS)


def is_asked(service: Service, slot: str) -> bool:
    return slot_of(service, "acme:1") == slot


def show_ready(service: Service, *ready: str) -> None:
    """Only these are, by the address book."""
    book = (address(slot, upstream.port, ready=slot in ready) for slot, upstream in service.upstreams.items())
    service.snapshot.write_addresses(AddressBook(tuple(book)))


def say(service: Service, slot: str, word: str) -> None:
    http.post(f"{service.upstreams[slot].url}/{word}").raise_for_status()


def is_available(service: Service, slot: str) -> bool:
    candidates = http.get(f"{service.url}/explain/acme").json()["candidates"]
    return any(c["slot"] == slot and c["ready"] and not c["ejected"] for c in candidates)


def test_a_request_that_takes_its_time_holds_up_nobody(own: Service) -> None:
    url = f"{own.url}/predict/single"
    for _ in range(3):  # now it counts as a model that answers at once
        assert http.post(url, json=[[1]]).status_code == 200
    answered: list[int] = []
    before = _arrived(own)

    def ask_slowly() -> None:
        answered.append(http.post(url, json={"wait": 1.0}).status_code)

    slow = threading.Thread(target=ask_slowly)
    slow.start()
    wait_until(lambda: _arrived(own) > before, PATIENCE, "it has been sent")
    assert http.post(url, json=[[1]]).status_code == 200
    assert not answered
    slow.join()
    assert answered == [200]


def _arrived(service: Service) -> int:
    return int(http.get(f"{service.upstreams[SLOTS[0]].url}/counts").json()["arrived"])


def test_slots_that_are_killed_again_and_again_cost_no_client_an_error(own: Service) -> None:
    with Load(own.url) as load:
        for _ in range(2):
            for slot, upstream in own.upstreams.items():
                upstream.kill()
                upstream.start()
                wait_until(partial(is_available, own, slot), PATIENCE, f"{slot} is back")
    assert load.result.errors == 0, (load.result.summary(), load.refusals)
    assert load.result.answered > 100


def test_a_slot_that_hangs_is_out_of_rotation_and_comes_back(own: Service) -> None:
    hanging = slot_of(own, "acme:1")
    own.upstreams[hanging].signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not is_available(own, hanging), PATIENCE, "the slot is out of rotation")
        answer = http.post(f"{own.url}/predict/acme:1", json=[[1]], timeout=PATIENCE)
        assert answer.status_code == 200
        assert "reason=failover" in answer.headers["tenantry-route"]
    finally:
        own.upstreams[hanging].signal(signal.SIGCONT)
    wait_until(partial(is_asked, own, hanging), PATIENCE, "the slot is back")


def test_requests_that_wait_for_a_slot_that_hangs_are_answered_by_another(own: Service) -> None:
    hanging = slot_of(own, "acme:1")
    own.upstreams[hanging].signal(signal.SIGSTOP)
    try:
        answer = http.post(f"{own.url}/predict/acme:1", json=[[1]], timeout=PATIENCE)
    finally:
        own.upstreams[hanging].signal(signal.SIGCONT)
    assert answer.status_code == 200
    assert answer.json()["slot"] != hanging


def test_no_more_than_half_of_a_pool_is_put_out_of_rotation(own: Service) -> None:
    for upstream in own.upstreams.values():
        upstream.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: sum(is_available(own, slot) for slot in SLOTS) == 2, PATIENCE, "one is ejected")
        late = http.post(f"{own.url}/predict/acme:1", json=[[1]], headers={"Tenantry-Timeout": "2s"})
        assert late.status_code == 504
        assert sum(is_available(own, slot) for slot in SLOTS) == 2
    finally:
        for upstream in own.upstreams.values():
            upstream.signal(signal.SIGCONT)
    wait_until(partial(are_available, own), PATIENCE, "all are back")
    assert http.post(f"{own.url}/predict/acme:1", json=[[1]]).status_code == 200


def test_when_the_whole_placement_is_gone_another_slot_of_the_pool_answers(own: Service) -> None:
    own.upstreams["default-0"].kill()
    answer = http.post(f"{own.url}/predict/single:1", json=[[1]])
    assert answer.status_code == 200
    assert answer.json()["slot"] != "default-0"


def test_when_nothing_is_reachable_the_answer_is_503_and_soon(own: Service) -> None:
    for upstream in own.upstreams.values():
        upstream.kill()
    answer = http.post(f"{own.url}/predict/acme:1", json=[[1]], timeout=PATIENCE)
    assert answer.status_code == 503
    assert answer.json()["reason"] == "Unreachable"
    assert int(answer.headers["retry-after"]) >= 1


def test_a_slot_that_is_not_ready_gets_nothing_while_others_are(own: Service) -> None:
    primary = slot_of(own, "acme:1")
    others = [slot for slot in SLOTS if slot != primary]
    say(own, primary, "doubt")
    show_ready(own, *others)
    wait_until(lambda: slot_of(own, "acme:1") != primary, PATIENCE, "the router has read the addresses")
    answer = http.post(f"{own.url}/predict/acme:1", json=[[1]])
    assert answer.json()["slot"] != primary
    for slot in others:
        say(own, slot, "doubt")
    show_ready(own)
    wait_until(
        lambda: http.get(f"{own.url}/explain/acme:1").json()["reason"] == "last-resort",
        PATIENCE,
        "the router has read the addresses",
    )
    assert http.post(f"{own.url}/predict/acme:1", json=[[1]]).status_code == 200
    for slot in SLOTS:
        say(own, slot, "trust")
    wait_until(lambda: slot_of(own, "acme:1") == primary, PATIENCE, "the slots have been asked themselves")


def test_slots_that_only_kubernetes_takes_for_not_ready_serve_on(own: Service) -> None:
    """As while their kubelet is silent; also by a router that starts meanwhile."""
    primary = slot_of(own, "acme:1")
    with Load(own.url) as load:
        show_ready(own)
        for _ in range(3):
            load.go_on()
    assert load.result.errors == 0, (load.result.summary(), load.refusals)
    with start_router(own.snapshot.path) as late:
        for service in (own, Service(late, own.upstreams, own.snapshot)):
            wait_until(partial(are_available, service), PATIENCE, "all are known as ready")
            wait_until(partial(is_asked, service, primary), PATIENCE, "the primary is asked")
    own.upstreams[primary].kill()
    wait_until(lambda: not is_available(own, primary), PATIENCE, "the one that has died is out")
    assert http.post(f"{own.url}/predict/acme:1", json=[[1]]).status_code == 200


def test_a_slot_that_moves_is_found_at_its_new_address(own: Service, folder: Path) -> None:
    with start_upstream("default-0", folder) as successor, Load(own.url) as load:
        own.snapshot.write_addresses(
            AddressBook(
                tuple(
                    address(slot, successor.port if slot == "default-0" else upstream.port)
                    for slot, upstream in own.upstreams.items()
                )
            )
        )
        wait_until(
            lambda: http.get(f"{successor.url}/counts").json().get("arrived", 0) > 0, PATIENCE, "it is used"
        )
        own.upstreams["default-0"].kill()
        load.go_on()
    assert load.result.errors == 0, (load.result.summary(), load.refusals)


def test_a_router_that_is_told_to_stop_finishes_what_is_under_way(own: Service) -> None:
    answers: list[httpx.Response] = []
    before = sum(own.counts(slot).get("arrived", 0) for slot in SLOTS)
    request = threading.Thread(
        target=lambda: answers.append(http.post(f"{own.url}/predict/acme:1", json={"wait": 1.0}))
    )
    request.start()
    wait_until(
        lambda: sum(own.counts(slot).get("arrived", 0) for slot in SLOTS) > before,
        PATIENCE,
        "the request is under way",
    )
    own.router.signal(signal.SIGTERM)
    request.join()
    assert answers[0].status_code == 200
    assert own.router.wait() == 0
