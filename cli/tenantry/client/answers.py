"""What the router answers, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy.typing as npt

from tenantry.client.errors import ServerFailed, TenantryError, error_of


@dataclass(frozen=True, slots=True)
class Route:
    """How a prediction came about, as `Tenantry-Route` tells."""

    slot: str = ""
    model: str = ""
    """`namespace.name`."""
    version: str = ""
    """The first digits of the artifact's digest."""
    cache: str = ""
    """`hit` where the model was warm; else `disk` or `miss`: this request waited for it."""
    reason: str = ""
    """Why this slot."""


@dataclass(frozen=True, slots=True)
class Prediction:
    values: Any
    """A Series or a DataFrame for a DataFrame, with its index; else an array. One entry a row."""
    route: Route


@dataclass(frozen=True, slots=True)
class Inference:
    outputs: Mapping[str, npt.NDArray[Any]]
    route: Route


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds; None where it says nothing, or a date."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdecimal() else None

    @property
    def route(self) -> Route:
        pairs = (part.strip().partition("=") for part in self.headers.get("tenantry-route", "").split(";"))
        known = {name: value for name, _, value in pairs if name in Route.__dataclass_fields__}
        return Route(**known)

    def json(self) -> Any:
        """Raises TenantryError where it is a refusal, or no JSON."""
        self.raise_for_status()
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise self.misunderstood() from error

    def raise_for_status(self) -> None:
        if not 200 <= self.status < 300:
            raise self.refusal()

    def refusal(self) -> TenantryError:
        """The problem in the answer, in the router's own words."""
        try:
            problem = msgspec.json.decode(self.body, type=_Problem)
        except msgspec.DecodeError:
            problem = _Problem(error=self.body.decode(errors="replace")[:1000])
        sentence = problem.error or problem.detail or f"HTTP {self.status}"
        reason = problem.reason or problem.title.replace(" ", "")
        return error_of(self.status, sentence, reason, self.retry_after)

    def misunderstood(self) -> ServerFailed:
        return ServerFailed(
            "The answer is none of a Tenantry router: does the URL name one?", self.status, "BadAnswer"
        )


class _Problem(msgspec.Struct):
    error: str = ""
    detail: str = ""
    reason: str = ""
    title: str = ""
