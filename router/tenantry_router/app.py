"""What is not hot: the Open Inference Protocol's metadata, health, explanations, documentation, metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response

from tenantry_core.http.asgi import as_endpoint, render_problems
from tenantry_core.http.metrics import metrics_response
from tenantry_core.http.openapi import (
    DURATION,
    MODEL_NAME,
    TENANT_ID,
    USER_ID,
    describe,
    header,
    inference_operation,
    metadata_operation,
    path_parameters,
    table_operation,
)
from tenantry_core.http.server import Application
from tenantry_core.oip.messages import EXTENSIONS
from tenantry_core.problems import Problem
from tenantry_core.version import VERSION
from tenantry_router import repository
from tenantry_router.endpoint import Predictions
from tenantry_router.explain import explain
from tenantry_router.identity import Caller, caller
from tenantry_router.router import Router, Settings

_WHO = (
    header("Tenantry-Tenant", "The tenant; left out, the user id is tenant:user, or the tenant.", TENANT_ID),
    header("Tenantry-Timeout", "What the answer is good for, such as 250ms.", DURATION),
)
_USER = header("Tenantry-User", "The user, by whom a slot is chosen.", USER_ID)
_PATTERNS = {"user_id": USER_ID, "model": MODEL_NAME, "version": "[0-9a-f]{12,64}"}
_INDEX_SCHEMA = {"type": "object", "properties": {"ready": {"type": "boolean", "default": False}}}
_INDEX = {"requestBody": {"content": {"application/json": {"schema": _INDEX_SCHEMA}}}}


class _IndexRequest(msgspec.Struct):
    ready: bool = False
    """Only models that are."""


def build(settings: Settings) -> Application:
    """The application of one worker process."""
    router = Router(settings)
    predictions = Predictions(router)
    app = _api(router, predictions)
    _document(app, predictions)
    return Application(app, predictions, router.end)


def _api(router: Router, predictions: Predictions) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with router.running(), _serving_grpc(router, predictions):
            yield

    app = FastAPI(
        title="Tenantry router",
        version=VERSION,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
    )
    render_problems(app)
    describe(app)
    _add_health(app, router)
    _add_models(app, router, predictions)
    return app


def _serving_grpc(router: Router, predictions: Predictions) -> AbstractAsyncContextManager[None]:
    settings = router.settings.grpc
    if settings is None:
        return nullcontext()
    from tenantry_router import grpc_server  # 20 MB that a router without the port does without

    return grpc_server.serving(settings, router, predictions)


def _document(app: FastAPI, predictions: Predictions) -> None:
    """The hot routes, for the documentation; the protocol class answers them before they come here."""
    predict, infer = as_endpoint(predictions.predict), as_endpoint(predictions.infer)
    for path, endpoint, operation, summary in (
        ("/predict/{user_id}", predict, table_operation, "Predict with the model that answers for a user"),
        ("/v2/models/{model}/infer", infer, _inference, "Infer with a model that is named"),
        ("/v2/models/{model}/versions/{version}/infer", infer, _inference, "Infer with a version of a model"),
    ):
        app.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            summary=summary,
            tags=["predictions"],
            openapi_extra=operation(*path_parameters(path, **_PATTERNS), *_WHO),
        )


def _inference(*parameters: dict[str, Any]) -> dict[str, Any]:
    return inference_operation(*parameters, _USER)


def _add_health(app: FastAPI, router: Router) -> None:
    @app.get("/v2", summary="Name, version and extensions of this server")
    async def server() -> dict[str, Any]:
        return {
            "name": "tenantry",
            "version": VERSION,
            "extensions": EXTENSIONS,
        }

    @app.get("/v2/health/live", summary="Is the router running?")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="Can the router serve what it knows?")
    async def ready() -> dict[str, Any]:
        if router.ending:
            raise Problem(503, "The router has been told to end.", reason="Ending", retry_after=1)
        if not router.is_ready():
            sentence = "No placement has been read yet: the API server could not be reached."
            raise Problem(503, sentence, reason="NotFed", retry_after=1)
        state = router.follower.source
        return {
            "ready": True,
            "source": state.source if state else None,
            "connected": state.connected if state else False,
            "since": state.since if state else None,
            "models": len(router.table.models),
        }

    @app.get("/metrics", summary="Counters, summed over all worker processes", include_in_schema=False)
    async def metrics() -> Response:
        answer = metrics_response()
        return Response(answer.body, answer.status, {k.decode(): v.decode() for k, v in answer.headers})


def _add_models(app: FastAPI, router: Router, predictions: Predictions) -> None:
    metadata = as_endpoint(predictions.metadata)
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        summary = "Inputs and outputs, as a slot that has the model tells them"
        extra = metadata_operation(*path_parameters(path, **_PATTERNS), *_WHO)
        app.add_api_route(path, metadata, summary=summary, openapi_extra=extra)

    @app.get("/v2/models/{model}/ready", summary="Is a good version of the model routed?")
    @app.get("/v2/models/{model}/versions/{version}/ready", summary="Is this version of the model routed?")
    async def model_ready(request: Request, model: str, version: str | None = None) -> dict[str, Any]:
        return {"name": repository.check_ready(router, _caller(request), model, version), "ready": True}

    @app.post("/v2/repository/index", summary="The models that the caller may use", openapi_extra=_INDEX)
    async def index(request: Request) -> list[dict[str, str]]:
        body = await request.body()
        ready = bool(body) and _read_index(body).ready
        return repository.index(router, _caller(request), ready=ready)

    @app.get(
        "/explain/{user_id}",
        summary="Which model, version and slot would serve a user, and why",
        openapi_extra={"parameters": [*path_parameters("/{user_id}", **_PATTERNS), _WHO[0]]},
    )
    async def explain_user(request: Request, user_id: str) -> dict[str, Any]:
        return await explain(router, caller(_tenant(request), user_id))


def _read_index(body: bytes) -> _IndexRequest:
    try:
        return msgspec.json.decode(body, type=_IndexRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is no request for the index: {error}.", reason="Malformed") from error


def _caller(request: Request) -> Caller:
    return caller(_tenant(request), request.headers.get("tenantry-user"))


def _tenant(request: Request) -> bytes | None:
    tenant = request.headers.get("tenantry-tenant")
    return None if tenant is None else tenant.encode("latin-1")
