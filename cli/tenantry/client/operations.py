"""What can be asked of a router, without input and output: each is a Flow that a client drives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from tenantry.client import tables, tensors
from tenantry.client.answers import Inference, Prediction
from tenantry.client.attempts import Flow, answer_to
from tenantry.client.errors import TenantryError
from tenantry.client.requests import TENANT, USER, Request, of_model, to_explain, to_predict
from tenantry_core.version import VERSION


class Operations:
    def __init__(self, tenant: str | None, api_key: str | None, seconds: float) -> None:
        self._fields = {"User-Agent": f"tenantry/{VERSION}"}
        if tenant is not None:
            self._fields[TENANT] = tenant
        if api_key is not None:
            self._fields["Authorization"] = f"Bearer {api_key}"
        self._seconds = seconds

    def predict(
        self, user: str, data: tables.Table, output: str | None, seconds: float | None
    ) -> Flow[Prediction]:
        request = to_predict(user, tables.encode(data), output, self._fields)
        answer = yield from answer_to(request, self._seconds if seconds is None else seconds)
        values = answer.json()
        if not isinstance(values, list):
            raise answer.misunderstood()
        return Prediction(tables.decode(values, data, output), answer.route)

    def infer(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        outputs: Sequence[str],
        user: str | None,
        version: str | None,
        seconds: float | None,
    ) -> Flow[Inference]:
        fields, body = tensors.encode(inputs, outputs, user)
        if user is not None:
            fields[USER] = user
        request = Request("POST", f"{of_model(model, version)}/infer", {**self._fields, **fields}, body)
        answer = yield from answer_to(request, self._seconds if seconds is None else seconds)
        return Inference(tensors.decode(answer), answer.route)

    def explain(self, user: str) -> Flow[dict[str, Any]]:
        request = to_explain(user, self._fields)
        answer = yield from answer_to(request, self._seconds)
        explained = answer.json()
        if not isinstance(explained, dict):
            raise answer.misunderstood()
        return explained

    def ready(self, model: str | None) -> Flow[bool]:
        path = "/v2/health/ready" if model is None else f"{of_model(model)}/ready"
        try:
            answer = yield from answer_to(Request("GET", path, self._fields), self._seconds)
            answer.raise_for_status()
        except TenantryError:
            return False
        return True
