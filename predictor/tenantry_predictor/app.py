"""What is not hot: metadata, health, the repository, the slot's report, metrics, documentation."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any, TypeVar

import msgspec
from fastapi import Depends, FastAPI, Request, Response

from tenantry_core import wire
from tenantry_core.http.asgi import as_endpoint, render_problems
from tenantry_core.http.metrics import metrics_response
from tenantry_core.http.openapi import (
    DURATION,
    MODEL_KEY,
    TENANT_ID,
    describe,
    header,
    inference_operation,
    metadata_operation,
    path_parameters,
    struct_operation,
    table_operation,
)
from tenantry_core.http.server import Application
from tenantry_core.oip.json_codec import encode_metadata
from tenantry_core.oip.messages import EXTENSIONS, Answerer
from tenantry_core.problems import Problem
from tenantry_core.version import VERSION
from tenantry_predictor.endpoint import Predictions
from tenantry_predictor.errors import LoadError
from tenantry_predictor.metrics_port import serving_metrics
from tenantry_predictor.repositories.base import Source
from tenantry_predictor.slot import Settings, Slot

_DIGEST = "(-|[0-9a-f]{64})"
_REFERENCE = (
    header("Tenantry-Tenant", "The tenant.", TENANT_ID, required=True),
    header("Tenantry-Artifact", "URI, percent-encoded.", "[a-z][a-z0-9+-]+://[!-$&-~]+", required=True),
    header("Tenantry-Version", "Its SHA-256; left out, or -, where it is not pinned.", _DIGEST),
    header("Tenantry-Format", "Left out where the URI's suffix tells.", "[a-z0-9]([a-z0-9._-]*[a-z0-9])?"),
    header("Tenantry-Token", "One of the accepted tokens, where there are any.", "[!-~]+"),
)
_MODEL = header("Tenantry-Model", "The model's key, namespace.name.", MODEL_KEY, required=True)
_TIMEOUT = header("Tenantry-Timeout", "What the answer is good for, such as 250ms.", DURATION)
_PATTERNS = {"model": MODEL_KEY, "version": _DIGEST}

T = TypeVar("T")


def build(settings: Settings, metrics: socket.socket | None = None) -> Application:
    """The application of the process; `metrics`: a listening socket for them alone."""
    slot = Slot(settings)
    predictions = Predictions(slot.plane, slot.references, slot.tokens)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with slot.running(), serving_metrics(metrics) if metrics else nullcontext():
            yield

    app = FastAPI(
        title="Tenantry predictor",
        version=VERSION,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
    )
    render_problems(app)
    describe(app, wire.LoadRequest, wire.LoadReport, wire.SlotReport)
    _add_health(app, slot)
    _add_predictions(app, predictions)
    _add_models(app, slot, predictions)
    _add_repository(app, slot)
    return Application(app, predictions)


def _add_health(app: FastAPI, slot: Slot) -> None:
    """Open to everybody: the kubelet and Prometheus have no token."""

    @app.get("/v2", summary="Name, version and extensions of this server")
    async def server() -> dict[str, Any]:
        return {"name": "tenantry", "version": VERSION, "extensions": EXTENSIONS}

    @app.get("/v2/health/live", summary="Is the predictor running?")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="Is its share of models warm?")
    async def ready() -> dict[str, bool]:
        if not slot.ready.is_set():
            raise Problem(503, "The slot is still being warmed.", reason="Warming", retry_after=1)
        return {"ready": True}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        answer = metrics_response()
        return Response(answer.body, answer.status, {k.decode(): v.decode() for k, v in answer.headers})


def _add_predictions(app: FastAPI, predictions: Predictions) -> None:
    """The hot routes, for the documentation; the protocol class answers them before they come here."""
    for path, handler, operation, summary in (
        (
            "/predict",
            predictions.predict,
            _tables,
            "Predict for a table with the model that the headers name",
        ),
        (
            "/v2/models/{model}/infer",
            predictions.infer,
            inference_operation,
            "Infer by the Open Inference Protocol",
        ),
        (
            "/v2/models/{model}/versions/{version}/infer",
            predictions.infer,
            inference_operation,
            "Infer with a version",
        ),
    ):
        app.add_api_route(
            path,
            as_endpoint(handler),
            methods=["POST"],
            summary=summary,
            openapi_extra=operation(*path_parameters(path, **_PATTERNS), *_REFERENCE, _TIMEOUT),
        )


def _tables(*parameters: dict[str, Any]) -> dict[str, Any]:
    return table_operation(*parameters, _MODEL)


def _add_models(app: FastAPI, slot: Slot, predictions: Predictions) -> None:
    guard = [Depends(_guard(slot))]

    async def source(request: Request) -> Source:
        fields = dict(request.scope["headers"])
        fields.setdefault(wire.MODEL, request.path_params["model"].encode())
        if "version" in request.path_params:
            fields.setdefault(wire.VERSION, request.path_params["version"].encode())
        return predictions.source(fields)

    @app.get(
        "/v2/models/{model}",
        summary="Inputs and outputs of the model that the headers name",
        dependencies=guard,
        openapi_extra=metadata_operation(*path_parameters("/{model}", **_PATTERNS), *_REFERENCE),
    )
    @app.get(
        "/v2/models/{model}/versions/{version}",
        summary="Inputs and outputs of a version",
        dependencies=guard,
        openapi_extra=metadata_operation(*path_parameters("/{model}/{version}", **_PATTERNS), *_REFERENCE),
    )
    async def metadata(model: str, asked: Source = Depends(source)) -> Response:  # noqa: B008
        try:
            entry = await slot.plane.describe(asked)
        except LoadError as error:
            raise slot.plane.load_problem(asked, error) from error
        loaded = entry.model
        answerer = Answerer(model, entry.key.sha256)
        body = encode_metadata(answerer, loaded.engine, loaded.inputs, loaded.outputs)
        return Response(body, media_type="application/json")

    @app.get("/v2/models/{model}/ready", summary="Is the model warm here?", dependencies=guard)
    @app.get(
        "/v2/models/{model}/versions/{version}/ready", summary="Is the version warm here?", dependencies=guard
    )
    async def model_ready(model: str, version: str = "") -> dict[str, Any]:
        if not any(model in e.requests and version in ("", e.key.sha256) for e in slot.cache.memory):
            raise Problem(404, f"{model} is not warm here; a prediction or a load makes it so.")
        return {"name": model, "ready": True}


def _add_repository(app: FastAPI, slot: Slot) -> None:
    guard = [Depends(_guard(slot))]

    @app.post("/v2/repository/index", summary="The models that are warm", dependencies=guard)
    async def index() -> list[dict[str, str]]:
        return [
            {"name": warm.model, "version": warm.sha256, "state": "READY", "reason": ""}
            for warm in slot.report().models
        ]

    @app.post(
        "/v2/repository/models/{model}/load",
        summary="Make a model warm",
        dependencies=guard,
        openapi_extra=struct_operation(wire.LoadRequest, wire.LoadReport),
    )
    async def load(model: str, request: Request) -> Response:
        asked = await _read(request, wire.LoadRequest)
        slot.expect_loads()
        try:
            source = slot.references.from_load(model, asked)
            report = await slot.plane.load(source, pinned=asked.pinned, verify=asked.verify)
        except LoadError as error:
            raise Problem(503, error.message, reason=error.reason, retry_after=1) from error
        finally:
            slot.expect_loads()
        return _json(report)

    @app.post(
        "/v2/repository/models/{model}/unload",
        summary="Make a model first to evict",
        dependencies=guard,
        openapi_extra=struct_operation(wire.LoadRequest, None),
    )
    async def unload(model: str, request: Request) -> Response:
        asked = await _read(request, wire.LoadRequest)
        try:
            slot.plane.unload(slot.references.from_load(model, asked))
        except LoadError as error:
            raise Problem(503, error.message, reason=error.reason) from error
        return Response(b"{}", media_type="application/json")

    @app.get(
        "/v2/slot",
        summary="What the slot holds and how busy it was",
        dependencies=guard,
        openapi_extra=struct_operation(None, wire.SlotReport),
    )
    async def report() -> Response:
        return _json(slot.report())

    @app.post("/v2/slot/ready", summary="Turn ready: the slot's share is warm", dependencies=guard)
    async def turn_ready() -> dict[str, bool]:
        slot.ready.set()
        return {"ready": True}


def _guard(slot: Slot) -> Callable[[Request], Awaitable[None]]:
    async def check(request: Request) -> None:
        slot.tokens.check(dict(request.scope["headers"]).get(wire.TOKEN))

    return check


async def _read(request: Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is no {kind.__name__}: {error}.") from error


def _json(document: object) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")
