"""The gRPC port of one worker process: the inference service, health, reflection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from tenantry_core.http.limits import Limits
from tenantry_core.oip import open_inference_pb2
from tenantry_router.endpoint import Predictions
from tenantry_router.grpc_service import SERVICE, InferenceService
from tenantry_router.router import GrpcSettings, Router

logger = logging.getLogger(__name__)

_GRACE = 10.0
"""Seconds that calls in flight have when the port is closed."""
_LOOK = 0.25
"""Seconds between looks at whether the router is ready."""
_DESCRIBED = (open_inference_pb2, health_pb2, reflection_pb2)


@asynccontextmanager
async def serving(settings: GrpcSettings, router: Router, predictions: Predictions) -> AsyncIterator[None]:
    """Answer on the port; at the end calls in flight are answered, and clients are told to go elsewhere.

    Raises RuntimeError when the port is taken meanwhile.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", int(settings.shared)),
            ("grpc.max_receive_message_length", Limits().body_bytes),
        ]
    )
    server.add_generic_rpc_handlers((InferenceService(router, predictions).handler(),))
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    services = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(services, server, pool=_descriptions())
    server.add_insecure_port(settings.address)
    await server.start()
    logger.info("listening on grpc://%s", settings.address)
    looking = asyncio.create_task(_follow(router, healthy))
    try:
        yield
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        await server.stop(_GRACE)


async def _follow(router: Router, healthy: health.aio.HealthServicer) -> None:
    """Let the health service say what `/v2/health/ready` does, until cancelled."""
    while True:
        status = "SERVING" if router.is_serving() else "NOT_SERVING"
        for service in ("", SERVICE):
            await healthy.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(status))
        await asyncio.sleep(_LOOK)


def _descriptions() -> DescriptorPool:
    """What reflection tells: the messages lie in pools of their own, so they are brought together here."""
    pool = DescriptorPool()
    for module in _DESCRIBED:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return pool
