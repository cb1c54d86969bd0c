"""A pool's manifests: a Deployment a slot, a headless Service, a disruption budget, a network policy."""

from __future__ import annotations

import msgspec
import xxhash

from tenantry_core.resources import POOL_LABEL, SLOT_LABEL, PredictorPool
from tenantry_operator.kubernetes.deployments import DIGEST_ANNOTATION
from tenantry_operator.kubernetes.endpoints import PORT_NAME
from tenantry_operator.kubernetes.predictor_pod import METRICS_PORT_NAME, PORT, predictor_pod
from tenantry_operator.kubernetes.release import (
    COMPONENT_LABEL,
    NAME_LABEL,
    Manifest,
    Release,
    child_labels,
    child_metadata,
)


def shared_children(pool: PredictorPool, release: Release) -> list[Manifest]:
    """Everything but the Deployments."""
    return [_service(pool, release), _disruption_budget(pool, release), _network_policy(pool, release)]


def slot_deployment(pool: PredictorPool, slot: str, release: Release) -> Manifest:
    """One pod behind a stable name. A roll surges: the new pod is ready before the old one goes."""
    labels = {POOL_LABEL: pool.name, SLOT_LABEL: slot}
    manifest: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(pool, release, slot, labels),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": child_labels(labels)},
                "spec": predictor_pod(pool, slot, release),
            },
        },
    }
    annotations = {DIGEST_ANNOTATION: xxhash.xxh64_hexdigest(msgspec.json.encode(manifest, order="sorted"))}
    manifest["metadata"]["annotations"] = annotations
    return manifest


def digest(deployment: Manifest) -> str:
    """What tells this manifest from another of the same slot."""
    text: str = deployment["metadata"]["annotations"][DIGEST_ANNOTATION]
    return text


def _service(pool: PredictorPool, release: Release) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        # Its labels are copied to the EndpointSlices, where operator and routers look for them.
        "metadata": child_metadata(pool, release, pool.name, {POOL_LABEL: pool.name}),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": False,
            "selector": {POOL_LABEL: pool.name},
            "ports": [{"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME, "protocol": "TCP"}],
        },
    }


def _disruption_budget(pool: PredictorPool, release: Release) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": child_metadata(pool, release, pool.name, {POOL_LABEL: pool.name}),
        "spec": {
            "maxUnavailable": 1,
            # A pod that never turned ready must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {POOL_LABEL: pool.name}},
        },
    }


def _network_policy(pool: PredictorPool, release: Release) -> Manifest:
    callers = [
        {"podSelector": {"matchLabels": {NAME_LABEL: "tenantry", COMPONENT_LABEL: component}}}
        for component in ("router", "operator")
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": child_metadata(pool, release, pool.name, {POOL_LABEL: pool.name}),
        "spec": {
            "podSelector": {"matchLabels": {POOL_LABEL: pool.name}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": callers, "ports": [{"port": PORT_NAME, "protocol": "TCP"}]},
                # Nobody can tell which namespace Prometheus is in. This port answers with figures alone,
                # and in them tenants have no users and models no data.
                {
                    "from": [{"namespaceSelector": {}}],
                    "ports": [{"port": METRICS_PORT_NAME, "protocol": "TCP"}],
                },
            ],
        },
    }
