"""An operator whose slots do not answer stays calm."""

from __future__ import annotations

import asyncio

from tenantry_core.slices import Reference
from tenantry_core.wire import LoadReport
from tenantry_operator.planning.world import SLOT_UNREACHABLE, Check, CheckFailure, Instance
from tenantry_operator.reconciling.load_runner import BESIDE_REQUESTS, SILENCE, LoadRunner
from tenantry_operator.reconciling.slot_client import SlotClient
from unit.operator.running import run, until

INSTANCE = Instance("one", "10.0.0.1", 80, ready=True)
CHECKS = [
    Check(f"n.m{n}", f"uid-{n}", 1, "", "default-0", "one", Reference("s3://b/m.onnx", "onnx"), "t")
    for n in range(50)
]


class Silent(SlotClient):
    """Instances that answer nothing, until they do."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answers = False

    async def load(self, instance: Instance, check: Check) -> LoadReport | CheckFailure:
        self.asked += 1
        await asyncio.sleep(0)
        if self.answers:
            return LoadReport("0" * 64, 1, 1.0, "onnx", probed=True)
        return CheckFailure(SLOT_UNREACHABLE, "no answer", transient=True)


@run
async def test_an_instance_that_does_not_answer_is_tried_with_one_load_at_growing_intervals() -> None:
    now = 1_000_000.0
    client = Silent()
    runner = LoadRunner(client, lambda: now, lambda: None)
    asked, pauses = 0, []
    for _ in range(8):
        runner.offer(CHECKS, {"one": INSTANCE})
        await until(lambda: not runner.pending)
        assert client.asked - asked == (BESIDE_REQUESTS if asked == 0 else 1)
        asked = client.asked
        runner.offer(CHECKS, {"one": INSTANCE})
        assert not runner.pending, "it is left alone"
        pauses.append(runner.silent["one"] - now)
        now = runner.silent["one"]
    assert pauses[:3] == [1.0, 2.0, 4.0]
    assert pauses[-1] == SILENCE[1]
    client.answers = True
    runner.offer(CHECKS, {"one": INSTANCE})
    await until(lambda: not runner.pending)
    assert not runner.silent
    assert client.asked - asked == len(CHECKS), "it is trusted again"
    await client.close()
