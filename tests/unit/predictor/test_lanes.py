"""Threads shared fairly among tenants."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from tenantry_predictor.repositories.lanes import Lanes

DEADLINE = 60.0


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(test(), DEADLINE)

    asyncio.run(limited())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in threads
        await asyncio.sleep(0.001)


class Jobs:
    """Jobs that run until they are let go, and how many ran at a time."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.running: list[str] = []
        self.most = 0
        self._lock = threading.Lock()

    def job(self, name: str) -> Callable[[], str]:
        def work() -> str:
            with self._lock:
                self.running.append(name)
                self.most = max(self.most, len(self.running))
            self.gate.wait(DEADLINE)
            with self._lock:
                self.running.remove(name)
            return name

        return work


async def gathered(tasks: list[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*tasks))


def test_a_hung_tenant_leaves_threads_to_others() -> None:
    async def scenario() -> None:
        lanes, hung = Lanes("test", total=4, per_lane=2), Jobs()
        stuck = [asyncio.create_task(lanes.run("hung", hung.job("hung"))) for _ in range(50)]
        await until(lambda: len(hung.running) == 2)
        for name in ("a", "b", "c"):
            assert await lanes.run(name, lambda name=name: name) == name  # type: ignore[misc]
        assert hung.most == 2
        hung.gate.set()
        assert await gathered(list(stuck)) == ["hung"] * 50
        assert hung.most == 2
        lanes.close()

    run(scenario)


def test_no_more_than_the_total_run_at_a_time() -> None:
    async def scenario() -> None:
        lanes, jobs = Lanes("test", total=3, per_lane=2), Jobs()
        tasks = [asyncio.create_task(lanes.run(str(i), jobs.job(str(i)))) for i in range(20)]
        await until(lambda: len(jobs.running) == 3)
        jobs.gate.set()
        assert await gathered(list(tasks)) == [str(i) for i in range(20)]
        assert jobs.most <= 3
        lanes.close()

    run(scenario)


def test_a_hung_place_leaves_threads_to_the_same_tenants_elsewhere() -> None:
    async def scenario() -> None:
        lanes, hung = Lanes("test", total=6, per_lane=2, per_place=3), Jobs()
        stuck = [
            asyncio.create_task(lanes.run(f"t{i}", hung.job("hung"), place="s3://hung")) for i in range(20)
        ]
        await until(lambda: len(hung.running) == 3)
        for name in ("t0", "t19", "other"):
            assert await lanes.run(name, lambda name=name: name, place="s3://well") == name  # type: ignore[misc]
        assert hung.most == 3
        hung.gate.set()
        assert await gathered(list(stuck)) == ["hung"] * 20
        assert hung.most == 3
        lanes.close()

    run(scenario)


def test_waiting_lanes_take_turns() -> None:
    async def scenario() -> None:
        lanes, first = Lanes("test", total=1, per_lane=1), Jobs()
        order: list[str] = []
        blocker = asyncio.create_task(lanes.run("a", first.job("a")))
        await until(lambda: first.running == ["a"])
        waiting = [
            asyncio.create_task(lanes.run(lane, lambda lane=lane: order.append(lane)))  # type: ignore[misc]
            for lane in ("a", "a", "a", "b")
        ]
        await asyncio.sleep(0)
        first.gate.set()
        await blocker
        await gathered(list(waiting))
        assert order.index("b") <= 1
        lanes.close()

    run(scenario)


def test_cancelled_before_its_turn_a_job_never_runs() -> None:
    async def scenario() -> None:
        lanes, first = Lanes("test", total=1, per_lane=1), Jobs()
        ran: list[str] = []
        ended: list[str] = []
        blocker = asyncio.create_task(lanes.run("a", first.job("a")))
        await until(lambda: first.running == ["a"])
        task = asyncio.create_task(lanes.run("b", lambda: ran.append("b"), ended=lambda: ended.append("b")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["b"]
        first.gate.set()
        await blocker
        assert await lanes.run("c", lambda: "c") == "c"
        assert ran == []
        lanes.close()

    run(scenario)


def test_cancelled_later_it_keeps_its_thread_until_it_ends() -> None:
    async def scenario() -> None:
        lanes, jobs = Lanes("test", total=1, per_lane=1), Jobs()
        ended: list[str] = []
        task = asyncio.create_task(lanes.run("a", jobs.job("a"), ended=lambda: ended.append("a")))
        await until(lambda: jobs.running == ["a"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == []
        jobs.gate.set()
        await until(lambda: ended == ["a"])
        assert await lanes.run("b", lambda: "b") == "b"
        lanes.close()

    run(scenario)


def test_an_error_frees_the_thread() -> None:
    async def scenario() -> None:
        lanes = Lanes("test", total=1, per_lane=1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await lanes.run("a", lambda: 1 // 0)
        lanes.close()

    run(scenario)


def test_a_failure_that_nobody_waits_for_any_more_is_not_complained_of() -> None:
    complaints: list[dict[str, Any]] = []
    gate, begun = threading.Event(), threading.Event()

    def fail() -> None:
        begun.set()
        gate.wait(DEADLINE)
        raise ValueError("nobody hears this")

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        lanes = Lanes("test", 1, 1)
        ended: list[bool] = []
        task = asyncio.create_task(lanes.run("acme", fail, ended=lambda: ended.append(True)))
        await until(begun.is_set)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gate.set()
        await until(lambda: bool(ended))
        del task
        lanes.close()
        await asyncio.sleep(0)
        gc.collect()

    run(scenario)
    assert complaints == []


def test_threads_take_a_lower_priority_than_the_event_loops() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def scenario() -> None:
        lanes, usual = Lanes("test", 1, 1, nice=2), priority()
        assert await lanes.run("a", priority) == min(usual + 2, 19)
        assert priority() == usual
        lanes.close()

    run(scenario)
