"""The client for threads."""

from __future__ import annotations

import time
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


class Client:
    """Predictions from a router. Connections are kept and reused; it may be shared between threads.

    `tenant` is whose users are asked about, where the router does not know that from the API key; `timeout`
    is in seconds, for a whole call: the router is told, and what it cannot answer by then is dropped.
    `http_client` is one of your own for TLS or proxies: it is used as it is, and yours to close.

    A call is made once more, within its timeout, when the connection breaks, or when the router says 503
    and when to come back. Every call raises TenantryError (see `tenantry.client.errors`).
    """

    def __init__(
        self,
        url: str,
        *,
        tenant: str | None = None,
        api_key: str | None = None,
        timeout: float = 30.0,
        http_client: httpx.Client | None = None,
    ) -> None:
        self._base = sending.base_url(url)
        self._operations = Operations(tenant, api_key, timeout)
        self._own = http_client is None
        self._http = http_client or httpx.Client(trust_env=False)

    def predict(
        self, user: str, data: Table, output: str | None = None, *, timeout: float | None = None
    ) -> Any:
        """One prediction a row, from the model that answers for the user.

        A DataFrame brings a Series with its index (a DataFrame where a row has several values, such as
        `output="probabilities"`); records, rows and arrays bring an array. `output` names one of the
        model's outputs; without it, it is the first.
        """
        return self.prediction(user, data, output, timeout=timeout).values

    def prediction(
        self, user: str, data: Table, output: str | None = None, *, timeout: float | None = None
    ) -> Prediction:
        """Like `predict`, with the route: which model and version answered, and where."""
        return self._run(self._operations.predict(user, data, output, timeout))

    def infer(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        outputs: Sequence[str] = (),
        *,
        user: str | None = None,
        version: str | None = None,
        timeout: float | None = None,
    ) -> Inference:
        """Tensors in, tensors out, by the Open Inference Protocol. No `outputs` means all of them."""
        return self._run(self._operations.infer(model, inputs, outputs, user, version, timeout))

    def explain(self, user: str) -> dict[str, Any]:
        """Which model, version and slot would serve the user, why, and what else was possible."""
        return self._run(self._operations.explain(user))

    def ready(self, model: str | None = None) -> bool:
        """Whether the router takes requests; of a model, whether it has a version that answers."""
        return self._run(self._operations.ready(model))

    def close(self) -> None:
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._carry_out(step)
                except TenantryError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value

    def _carry_out(self, step: Step) -> Answer | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        with sending.translated(self._base, step):
            return sending.answer_of(self._http.request(**sending.arguments(self._base, step)))
