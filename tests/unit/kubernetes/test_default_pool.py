"""A default pool that the API server refuses: told where a user looks, without taking away what serves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from tenantry_core.resources import Metadata, PredictorPool
from tenantry_operator.kubernetes import default_pool
from tenantry_operator.kubernetes.api import Api, Refused
from tenantry_operator.kubernetes.default_pool import PoolRefused, apply_default_pool
from tenantry_operator.planning.plan import Event

SPEC = {"storage": {"prefixes": ["s3://models/x"]}}
SENTENCE = "spec.storage.prefixes[0]: a prefix must end in '/'"
PRESENT = PredictorPool(metadata=Metadata(name="default", uid="1"))


class Server:
    """Gives these answers, one after the other, to whatever is applied."""

    def __init__(self, *answers: Refused | Mapping[str, Any]) -> None:
        self._answers = list(answers)

    async def apply(self, *_: object, **__: object) -> Mapping[str, Any]:
        answer = self._answers.pop(0)
        if isinstance(answer, Refused):
            raise answer
        return answer


def applied(server: Server, present: PredictorPool | None) -> Event | None:
    return asyncio.run(apply_default_pool(cast(Api, server), SPEC, present))


def test_without_a_pool_the_refusal_is_the_end() -> None:
    with pytest.raises(PoolRefused) as caught:
        applied(Server(Refused(422, SENTENCE)), None)
    assert str(caught.value).endswith(SENTENCE)


def test_a_pool_that_is_there_has_a_warning_instead() -> None:
    event = applied(Server(Refused(422, SENTENCE)), PRESENT)
    assert event is not None
    assert (event.type, event.kind, event.name, event.uid) == ("Warning", "PredictorPool", "default", "1")
    assert event.message.endswith(SENTENCE)


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_what_may_pass_is_tried_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_pool, "_RETRY_SECONDS", 0.0)
    assert applied(Server(Refused(status, "try again"), {}), None) is None


def test_fields_that_somebody_has_set_are_told_and_not_the_end() -> None:
    conflict = Refused(409, "conflict", {".spec.storage": "kubectl-edit"})
    event = applied(Server(conflict, {"metadata": {"uid": "1"}}), PRESENT)
    assert event is not None
    assert (event.type, event.reason) == ("Normal", "FieldsKept")
    assert "spec.storage (set by kubectl-edit)" in event.message
