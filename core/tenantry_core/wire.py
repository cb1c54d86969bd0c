"""Router, operator and predictor: header names, and the JSON of warming and of a slot's report."""

from __future__ import annotations

from tenantry_core.slices import Reference, Wire

MODEL = b"tenantry-model"
VERSION = b"tenantry-version"
ARTIFACT = b"tenantry-artifact"
FORMAT = b"tenantry-format"
TENANT = b"tenantry-tenant"
USER = b"tenantry-user"
TIMEOUT = b"tenantry-timeout"
TOKEN = b"tenantry-token"
ROUTE = b"tenantry-route"
CACHE = b"tenantry-cache"
"""In a predictor's answer: HIT, HIT_LATER, `disk` or `miss`. The router folds it into `Tenantry-Route`."""
HIT = b"hit"
"""The model was warm and so cheap that the answer was given at once."""
HIT_LATER = b"hit-later"
"""The model was warm, and predicted in a thread, since it would have held up others."""
AT_ONCE = b"tenantry-at-once"
"""In a request to a predictor: refuse it (503, NOT_AT_ONCE) unless it can be answered at once."""
NOT_AT_ONCE = "NotAtOnce"


class Tensor(Wire, frozen=True):
    """An input or output in the Open Inference Protocol's terms; -1 is a free dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class LoadRequest(Wire, frozen=True):
    """Body of `POST /v2/repository/models/{namespace.name}/load`."""

    reference: Reference
    tenant: str
    pinned: bool = False
    """Stays in memory until it is unloaded, or loaded again without this."""
    verify: bool = False
    """Load, measure and probe, evicting nothing: it stays where memory is free, as the first to evict."""
    probe_user: str = ""
    """The user whose artifact stands for a `{user_id}` model."""


class LoadReport(Wire, frozen=True):
    """What a predictor answers to a load. A failure is a Problem whose `reason` is a status reason."""

    sha256: str
    size_bytes: int
    """Measured bytes in memory, not the size of the file."""
    load_milliseconds: float
    engine: str
    """How it is served: `onnx`, or `sklearn` for one that does not convert to an agreeing graph."""
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    columns: tuple[str, ...] = ()
    probed: bool = False
    """Whether it answered the sample row stored in the artifact; False where there is none."""


class WarmModel(Wire, frozen=True):
    """A version in memory; or, for a model with an artifact per user, all of these together."""

    model: str
    tenant: str
    sha256: str
    """Empty for artifacts of users, however many there are."""
    size_bytes: int
    requests: int
    """Predictions since it was loaded (those of users: since the process began), a counter."""
    pinned: bool = False
    """Whether it stays in memory until it is unloaded, or loaded again without `pinned`."""


class SlotReport(Wire, frozen=True):
    """Answer of `GET /v2/slot`: what a slot holds and how busy it was."""

    slot: str
    budget_bytes: int
    used_bytes: int
    busy_seconds: float
    """Time spent in predictions since the process began, a counter: rates are the reader's business."""
    in_flight: int
    models: tuple[WarmModel, ...] = ()
    ready: bool = False
    """Whether its share of models is warm, as it says itself."""
