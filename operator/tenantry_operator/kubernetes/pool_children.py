"""A pool's manifests: a Deployment a slot, a headless Service, a disruption budget, a network policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import xxhash
from kubernetes.utils.quantity import parse_quantity

from tenantry_core.artifacts import SAFE_FORMATS
from tenantry_core.quantities import parse_quantity as parse_bytes
from tenantry_core.resources import API_VERSION, POOL_LABEL, SLOT_LABEL, PredictorPool
from tenantry_operator.kubernetes.deployments import DIGEST_ANNOTATION
from tenantry_operator.kubernetes.endpoints import PORT_NAME

Manifest = dict[str, Any]

PORT = 8080
GRACE_SECONDS = 40
"""Time that a pod has to end: requests finish, and routers hear of it first."""
CACHE_SHARE = 0.6
"""Of the memory limit, for models; the rest is the interpreter, requests, and loads under way."""

_CACHE = "/var/cache/tenantry"
_TOKEN = "/etc/tenantry/token"
_NAME_LABEL = "app.kubernetes.io/name"
_COMPONENT_LABEL = "app.kubernetes.io/component"
_DEFAULT_LIMIT = "2Gi"


@dataclass(frozen=True, slots=True)
class Release:
    """What the operator's own configuration adds to every pool."""

    namespace: str
    image: str
    token_secret: str = ""
    """Secret with the key `token`; empty: predictors accept whoever reaches them."""


def child_name(name: str) -> str:
    """Names of children begin with a letter, as Services ask, and do not meet those of others."""
    return f"tenantry-{name}"


def shared_children(pool: PredictorPool, release: Release) -> list[Manifest]:
    """Everything but the Deployments."""
    return [_service(pool, release), _disruption_budget(pool, release), _network_policy(pool, release)]


def slot_deployment(pool: PredictorPool, slot: str, release: Release) -> Manifest:
    """One pod behind a stable name. A roll surges: the new pod is ready before the old one goes."""
    labels = {POOL_LABEL: pool.name, SLOT_LABEL: slot}
    manifest: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(pool, release, slot, labels),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": _labels(labels)},
                "spec": _pod(pool, slot, release),
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
        "metadata": _metadata(pool, release, pool.name, {POOL_LABEL: pool.name}),
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
        "metadata": _metadata(pool, release, pool.name, {POOL_LABEL: pool.name}),
        "spec": {
            "maxUnavailable": 1,
            # A pod that never turned ready must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {POOL_LABEL: pool.name}},
        },
    }


def _network_policy(pool: PredictorPool, release: Release) -> Manifest:
    callers = [
        {"podSelector": {"matchLabels": {_NAME_LABEL: "tenantry", _COMPONENT_LABEL: component}}}
        for component in ("router", "operator")
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(pool, release, pool.name, {POOL_LABEL: pool.name}),
        "spec": {
            "podSelector": {"matchLabels": {POOL_LABEL: pool.name}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": callers, "ports": [{"port": PORT_NAME, "protocol": "TCP"}]}],
        },
    }


def _metadata(pool: PredictorPool, release: Release, name: str, labels: dict[str, str]) -> Manifest:
    owner = {
        "apiVersion": API_VERSION,
        "kind": "PredictorPool",
        "name": pool.name,
        "uid": pool.metadata.uid,
        "controller": True,
    }
    return {
        "name": child_name(name),
        "namespace": release.namespace,
        "labels": _labels(labels),
        "ownerReferences": [owner],
    }


def _labels(labels: dict[str, str]) -> dict[str, str]:
    return {
        _NAME_LABEL: "tenantry",
        _COMPONENT_LABEL: "predictor",
        "app.kubernetes.io/managed-by": "tenantry",
        **labels,
    }


def _pod(pool: PredictorPool, slot: str, release: Release) -> Manifest:
    template = pool.spec.template
    pod: Manifest = {
        "hostname": slot,
        "subdomain": child_name(pool.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {POOL_LABEL: pool.name}},
            }
        ],
        "containers": [_container(pool, slot, release)],
        "volumes": [volume for volume, _ in _mounts(pool, release)],
    }
    if template.service_account_name:
        pod["serviceAccountName"] = template.service_account_name
    if template.node_selector:
        pod["nodeSelector"] = template.node_selector
    if template.tolerations:
        pod["tolerations"] = list(template.tolerations)
    return pod


def _container(pool: PredictorPool, slot: str, release: Release) -> Manifest:
    return {
        "name": "predictor",
        "image": release.image,
        "command": ["python", "-m", "tenantry_predictor"],
        "args": _arguments(pool, slot, release),
        "env": _environment(pool),
        "ports": [{"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(pool),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [mount for _, mount in _mounts(pool, release)],
        "readinessProbe": _probe("/v2/health/ready", period=1, failures=2),
        "livenessProbe": _probe("/v2/health/live", period=10, failures=6),
        "startupProbe": _probe("/v2/health/live", period=1, failures=60),
    }


def _arguments(pool: PredictorPool, slot: str, release: Release) -> list[str]:
    spec = pool.spec
    options: list[tuple[str, str]] = [
        ("--slot", slot),
        ("--host", "0.0.0.0"),
        ("--port", str(PORT)),
        ("--cache-dir", _CACHE),
        ("--cache-memory", str(_cache_memory(pool))),
    ]
    if spec.cache.disk:
        options.append(("--cache-disk", str(parse_bytes(spec.cache.disk))))
    if release.token_secret:
        options.append(("--token-file", f"{_TOKEN}/token"))
    options += [("--prefix", prefix) for prefix in spec.storage.prefixes]
    options += [("--trust-format", name) for name in spec.trust.formats or SAFE_FORMATS]
    if spec.storage.s3.endpoint:
        options.append(("--s3-endpoint", spec.storage.s3.endpoint))
    if spec.storage.s3.region:
        options.append(("--s3-region", spec.storage.s3.region))
    return [part for option in options for part in option]


def _cache_memory(pool: PredictorPool) -> int:
    if pool.spec.cache.memory:
        return parse_bytes(pool.spec.cache.memory)
    return int(parse_quantity(_resources(pool)["limits"]["memory"]) * round(CACHE_SHARE * 100) // 100)


def _resources(pool: PredictorPool) -> Manifest:
    """What the template states, completed. Without a CPU limit: throttling would be felt as latency."""
    stated = pool.spec.template.resources
    limits = {"memory": _DEFAULT_LIMIT, **stated.get("limits", {})}
    requests = {"cpu": "100m", "memory": limits["memory"], **stated.get("requests", {})}
    return {"limits": limits, "requests": requests}


def _environment(pool: PredictorPool) -> list[Manifest]:
    """Credentials by reference: the operator itself never reads a Secret."""
    secret = pool.spec.storage.s3.secret_ref
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if secret else ()
    stated = {variable["name"] for variable in pool.spec.template.env}
    references = [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key}}}
        for key in keys
        if secret is not None and key not in stated
    ]
    return [*references, *pool.spec.template.env]


def _mounts(pool: PredictorPool, release: Release) -> list[tuple[Manifest, Manifest]]:
    """Volumes, each with its mount. The root file system is read-only."""
    mounts: list[tuple[Manifest, Manifest]] = [
        ({"name": "cache", "emptyDir": {}}, {"name": "cache", "mountPath": _CACHE}),
        ({"name": "tmp", "emptyDir": {}}, {"name": "tmp", "mountPath": "/tmp"}),
    ]
    if release.token_secret:
        volume = {"name": "token", "secret": {"secretName": release.token_secret}}
        mounts.append((volume, {"name": "token", "mountPath": _TOKEN, "readOnly": True}))
    claim = pool.spec.storage.volume
    if claim is not None:
        source = {"claimName": claim.claim_name, "readOnly": True}
        mount = {"name": "models", "mountPath": claim.mount_path, "readOnly": True}
        mounts.append(({"name": "models", "persistentVolumeClaim": source}, mount))
    return mounts


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
