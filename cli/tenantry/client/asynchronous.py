"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import numpy.typing as npt

from tenantry.client import sending
from tenantry.client.answers import Answer, Inference, Prediction
from tenantry.client.attempts import Flow, Pause, Step
from tenantry.client.errors import TenantryError
from tenantry.client.operations import Operations
from tenantry.client.tables import Table

T = TypeVar("T")


class AsyncClient:
    """Like `Client`, call for call, to be awaited. It may be shared between tasks."""

    def __init__(
        self,
        url: str,
        *,
        tenant: str | None = None,
        api_key: str | None = None,
        timeout: float = 30.0,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self._base = sending.base_url(url)
        self._operations = Operations(tenant, api_key, timeout)
        self._own = http_client is None
        self._http = http_client or httpx.AsyncClient(trust_env=False)

    async def predict(
        self, user: str, data: Table, output: str | None = None, *, timeout: float | None = None
    ) -> Any:
        """See `Client.predict`."""
        return (await self.prediction(user, data, output, timeout=timeout)).values

    async def prediction(
        self, user: str, data: Table, output: str | None = None, *, timeout: float | None = None
    ) -> Prediction:
        """See `Client.prediction`."""
        return await self._run(self._operations.predict(user, data, output, timeout))

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        outputs: Sequence[str] = (),
        *,
        user: str | None = None,
        version: str | None = None,
        timeout: float | None = None,
    ) -> Inference:
        """See `Client.infer`."""
        return await self._run(self._operations.infer(model, inputs, outputs, user, version, timeout))

    async def explain(self, user: str) -> dict[str, Any]:
        """See `Client.explain`."""
        return await self._run(self._operations.explain(user))

    async def ready(self, model: str | None = None) -> bool:
        """See `Client.ready`."""
        return await self._run(self._operations.ready(model))

    async def aclose(self) -> None:
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._carry_out(step)
                except TenantryError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _carry_out(self, step: Step) -> Answer | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        with sending.translated(self._base, step):
            return sending.answer_of(await self._http.request(**sending.arguments(self._base, step)))
