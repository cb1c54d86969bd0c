"""Takes away what the operator has made, when the release goes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from kubernetes.aio.client import ApiClient

from tenantry_core.credentials import load_configuration
from tenantry_core.resources import API_VERSION
from tenantry_operator.kubernetes.api import Api, Refused, Unreachable
from tenantry_operator.kubernetes.election import LEASE
from tenantry_operator.kubernetes.release import MANAGED_BY, MANAGER

END_SECONDS = 60.0
"""For the operator's pods to end; more than their grace period."""
_POLL_SECONDS = 0.5
_ENDED = frozenset({"Succeeded", "Failed"})

logger = logging.getLogger(__name__)


class CleanupFailed(Exception):
    """Something may be left; the message says why."""


async def clean_up(namespace: str, operator_deployment: str) -> None:
    """First the operator ends, which would put back what is deleted; an empty name: there is none to end.

    Pools that users made or changed stay, with their TenantModels. Raises CleanupFailed and NoCredentials.
    """
    api = Api(ApiClient(await load_configuration()))
    try:
        if operator_deployment:
            await _stop(api, namespace, operator_deployment)
        await _delete_children(api, namespace)
        await _delete_pools(api)
    except (Refused, Unreachable) as error:
        raise CleanupFailed(f"the API server does not let everything go: {error}") from error
    finally:
        await api.close()


async def _stop(api: Api, namespace: str, deployment: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}/scale"
    try:
        scale = await api.merge(path, {"spec": {"replicas": 0}})
    except Refused as error:
        if error.status != 404:
            raise
        return
    deadline = time.monotonic() + END_SECONDS
    while left := await _running(api, namespace, scale["status"]["selector"]):
        if time.monotonic() > deadline:
            raise CleanupFailed(f"the operator has not ended within {END_SECONDS:.0f} s: {', '.join(left)}")
        await asyncio.sleep(_POLL_SECONDS)
    logger.info("the operator has ended")


async def _running(api: Api, namespace: str, selector: str) -> list[str]:
    pods = await api.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)
    return [p["metadata"]["name"] for p in pods["items"] if p.get("status", {}).get("phase") not in _ENDED]


async def _delete_children(api: Api, namespace: str) -> None:
    own = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
    for group, kind in (
        ("/apis/apps/v1", "deployments"),
        ("/api/v1", "services"),
        ("/apis/policy/v1", "poddisruptionbudgets"),
        ("/apis/networking.k8s.io/v1", "networkpolicies"),
    ):
        await _delete(api, f"{group}/namespaces/{namespace}/{kind}", labelSelector=own)
    await _delete(api, f"/apis/{API_VERSION}/namespaces/{namespace}/placementslices")
    await _delete(api, f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}")
    logger.info("deleted the predictors with their Services, budgets and policies, the slices and the Lease")


async def _delete_pools(api: Api) -> None:
    collection = f"/apis/{API_VERSION}/predictorpools"
    try:
        pools = (await api.get(collection))["items"]
    except Refused as error:
        if error.status != 404:
            raise
        return
    for pool in pools:
        metadata = pool["metadata"]
        if _is_ours_alone(metadata):
            # Unless somebody changes it now.
            await _delete(api, f"{collection}/{metadata['name']}", version=metadata["resourceVersion"])
            logger.info("deleted the PredictorPool %s", metadata["name"])
        else:
            logger.info("the PredictorPool %s stays: users made or changed it", metadata["name"])


def _is_ours_alone(metadata: Mapping[str, Any]) -> bool:
    """Whether the operator made the pool and nobody has edited it; to scale it is no edit."""
    editors = {f["manager"] for f in metadata.get("managedFields", ()) if not f.get("subresource")}
    return MANAGED_BY.items() <= metadata.get("labels", {}).items() and editors == {MANAGER}


async def _delete(api: Api, path: str, *, version: str = "", **params: str) -> None:
    """Of that version alone, if one is given. What is not there is gone already, and so is what is of a
    kind that is no longer served.
    """
    options: dict[str, Any] = {"propagationPolicy": "Background"}
    if version:
        options["preconditions"] = {"resourceVersion": version}
    try:
        await api.delete(path, options, **params)
    except Refused as error:
        if error.status != 404:
            raise
