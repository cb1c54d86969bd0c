"""`inference.GRPCInferenceService`: what of it is asked of a slot, and what the router knows by itself.

An inference stays the bytes that it is: read of it are the model's name and version, and the user where the
model is one per user. It takes the same way to a slot as one over HTTP.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import grpc
import msgspec
from google.protobuf.message import DecodeError

from tenantry_core.http.limits import Budget
from tenantry_core.http.messages import Reply, Request
from tenantry_core.oip import open_inference_pb2 as oip
from tenantry_core.oip.envelope_pb2 import Envelope
from tenantry_core.oip.messages import EXTENSIONS
from tenantry_core.oip.protobuf_codec import CONTENT_TYPE
from tenantry_core.problems import Problem
from tenantry_core.version import VERSION
from tenantry_router import fields as field
from tenantry_router import metrics, repository
from tenantry_router.endpoint import Predictions
from tenantry_router.fields import Fields
from tenantry_router.grpc_exchange import Context, Method, answering, ask, read_fields
from tenantry_router.identity import named_caller
from tenantry_router.router import Router

SERVICE: str = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

_HELD_BYTES = 128 * 1024 * 1024
"""Of requests that are on their way at a time."""
_TYPE_LINE = b"content-type: %b\r\n" % CONTENT_TYPE


class _ModelMetadata(msgspec.Struct):
    name: str
    versions: list[str]
    platform: str
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]


_read_metadata = msgspec.json.Decoder(_ModelMetadata).decode


class InferenceService:
    """The service's methods: a message in and one out; of an inference, their bytes."""

    def __init__(self, router: Router, predictions: Predictions) -> None:
        self._router = router
        self._predictions = predictions
        self._budget = Budget(_HELD_BYTES)

    def handler(self) -> grpc.GenericRpcHandler:
        """For `grpc.aio.Server.add_generic_rpc_handlers`."""
        methods = {
            "ServerLive": _method(oip.ServerLiveRequest, self._server_live),
            "ServerReady": _method(oip.ServerReadyRequest, self._server_ready),
            "ServerMetadata": _method(oip.ServerMetadataRequest, self._server_metadata),
            "ModelReady": _method(oip.ModelReadyRequest, self._model_ready),
            "ModelMetadata": _method(oip.ModelMetadataRequest, self._model_metadata),
            "RepositoryIndex": _method(oip.RepositoryIndexRequest, self._repository_index),
            "ModelInfer": grpc.unary_unary_rpc_method_handler(answering(self._model_infer)),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _server_live(self, _: oip.ServerLiveRequest, __: Context) -> oip.ServerLiveResponse:
        return oip.ServerLiveResponse(live=True)

    async def _server_ready(self, _: oip.ServerReadyRequest, __: Context) -> oip.ServerReadyResponse:
        return oip.ServerReadyResponse(ready=self._router.is_serving())

    async def _server_metadata(self, _: oip.ServerMetadataRequest, __: Context) -> oip.ServerMetadataResponse:
        return oip.ServerMetadataResponse(name="tenantry", version=VERSION, extensions=EXTENSIONS)

    async def _model_ready(self, request: oip.ModelReadyRequest, context: Context) -> oip.ModelReadyResponse:
        who = named_caller(read_fields(context))
        ready = repository.is_ready(self._router, who, request.name, request.version or None)
        return oip.ModelReadyResponse(ready=ready)

    async def _repository_index(
        self, request: oip.RepositoryIndexRequest, context: Context
    ) -> oip.RepositoryIndexResponse:
        if request.repository_name:
            return oip.RepositoryIndexResponse()
        models = repository.index(self._router, named_caller(read_fields(context)), ready=request.ready)
        index = oip.RepositoryIndexResponse.ModelIndex
        return oip.RepositoryIndexResponse(models=[index(**model) for model in models])

    async def _model_metadata(
        self, request: oip.ModelMetadataRequest, context: Context
    ) -> oip.ModelMetadataResponse:
        fields = read_fields(context)

        def describe(asked: Request, reply: Reply) -> None:
            self._predictions.describe(asked, reply, fields, request.name, request.version or None)

        told = _read_metadata(await ask(describe, _request(b"GET"), context))
        return oip.ModelMetadataResponse(**msgspec.structs.asdict(told))

    async def _model_infer(self, body: bytes, context: Context) -> bytes:
        if not self._budget.take(len(body)):
            raise Problem(503, "The router holds too many messages.", reason="Busy", retry_after=1)
        try:
            return await ask(partial(self._infer, read_fields(context)), _request(b"POST", body), context)
        finally:
            self._budget.give_back(len(body))

    def _infer(self, fields: Fields, request: Request, reply: Reply) -> None:
        try:
            envelope = _envelope(request.body)
            destination = self._router.named(
                fields,
                envelope.model_name,
                envelope.model_version or None,
                lambda: envelope.parameters["user_id"].string_param,
            )
            line, lines = destination.target.infer_line, _TYPE_LINE + field.trace(fields)
            self._predictions.forward(request, reply, fields, destination, line, lines)
        except Problem as problem:
            metrics.count_refusal(problem)
            raise


def _method(request: type[Any], method: Method[Any]) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        answering(method),
        request_deserializer=request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


def _request(method: bytes, body: bytes = b"") -> Request:
    return Request(method, b"", b"", (), body, asyncio.get_running_loop().time())


def _envelope(body: bytes) -> Envelope:
    try:
        envelope: Envelope = Envelope.FromString(body)
    except DecodeError as error:
        raise Problem(400, "The message is no ModelInferRequest.", reason="Malformed") from error
    return envelope
