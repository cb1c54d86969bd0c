"""An inference request, whichever form carried it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tenantry_core.http.messages import Payload
from tenantry_core.values import AnyArray
from tenantry_core.wire import Tensor

EXTENSIONS = ("binary_tensor_data", "model_repository", "parameters")
"""What a server says of itself at `/v2`."""


class InferInput(msgspec.Struct):
    """One tensor as it was sent: not compared with anything yet."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: Sequence[Any] | memoryview
    """Values, flat in row-major order or nested as `shape` says; a memoryview has them as `raw` does."""


class RequestedOutput(msgspec.Struct):
    name: str
    binary: bool | None = None
    """Whether it shall come back in bytes; None: as the request says for all."""


class InferRequest(msgspec.Struct):
    """`outputs` is empty where all that the model has are asked for."""

    inputs: Sequence[InferInput]
    outputs: Sequence[RequestedOutput] = ()
    id: str = ""
    binary: bool = False
    """Whether outputs come back in bytes unless they say otherwise."""


class Output(NamedTuple):
    """One output that is asked for, and is there."""

    tensor: Tensor
    binary: bool


class Answerer(NamedTuple):
    """Who answers: what an answer says of the model."""

    model: str
    version: str


Encode = Callable[[Answerer, str, Sequence[Output], Mapping[str, AnyArray]], Payload]
"""What each form has: who answers, the request's id, the outputs in their order, an array for each."""
