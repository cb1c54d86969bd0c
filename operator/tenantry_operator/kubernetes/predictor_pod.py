"""The pod behind a slot. It passes Pod Security's `restricted`."""

from __future__ import annotations

from kubernetes.utils.quantity import parse_quantity

from tenantry_core.quantities import parse_quantity as parse_bytes
from tenantry_core.resources import POOL_LABEL, PredictorPool
from tenantry_operator.kubernetes.endpoints import PORT_NAME
from tenantry_operator.kubernetes.release import Manifest, Release, child_name

PORT = 8080
METRICS_PORT = 8081
METRICS_PORT_NAME = "metrics"
GRACE_SECONDS = 60
"""Time that a pod has to end: 25 s at most until no router sends it anything, 30 s for requests in flight.

One that is evicted serves on, warm, until its successor is ready, of which routers hear within a second.
"""
HANG_GRACE_SECONDS = 5
"""The same for one that hangs: it has not heard that it shall end."""
DRAIN_SECONDS = 3
"""Without a request, after which no router is expected to send one."""
CACHE_SHARE = 0.6
"""Of the memory limit, for models; the rest is the interpreter, requests, and loads under way."""

_CACHE = "/var/cache/tenantry"
_TOKEN = "/etc/tenantry/token"
_USER = 10001
_DEFAULT_LIMIT = "2Gi"
_DEFAULT_REQUEST = "256Mi"
"""About what a predictor takes with a handful of models: a laptop has room for a few slots. Who fills the
caches states memory in the pool's template; a limit alone is requested whole, as in any pod."""


def predictor_pod(pool: PredictorPool, slot: str, release: Release) -> Manifest:
    """Its `spec`."""
    template = pool.spec.template
    pod: Manifest = {
        "hostname": slot,
        "subdomain": child_name(pool.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
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
    stated = {
        "serviceAccountName": template.service_account_name or release.service_account,
        "imagePullSecrets": [{"name": name} for name in release.pull_secrets],
        "nodeSelector": template.node_selector,
        "tolerations": list(template.tolerations),
    }
    return pod | {name: value for name, value in stated.items() if value}


def _container(pool: PredictorPool, slot: str, release: Release) -> Manifest:
    """The image's entry point is the command."""
    container = {
        "name": "predictor",
        "image": release.image,
        "args": _arguments(pool, slot, release),
        "env": _environment(pool),
        "ports": [
            {"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"},
            {"name": METRICS_PORT_NAME, "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(pool),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [mount for _, mount in _mounts(pool, release)],
        # Routers look for themselves, twice a second: a slot that hangs is out of rotation long before the
        # kubelet says so. Its verdict costs the slot its warmth, or makes the operator warm it again, so it
        # comes late: three looks in a row for what may be a busy moment, a minute for what is surely dead.
        "readinessProbe": _probe("/v2/health/ready", period=1, failures=3),
        "livenessProbe": _probe("/v2/health/live", period=10, failures=6)
        | {"terminationGracePeriodSeconds": HANG_GRACE_SECONDS},
        "startupProbe": _probe("/v2/health/live", period=1, failures=120),
    }
    return container | ({"imagePullPolicy": release.pull_policy} if release.pull_policy else {})


def _arguments(pool: PredictorPool, slot: str, release: Release) -> list[str]:
    spec = pool.spec
    options: list[tuple[str, str]] = [
        ("--slot", slot),
        ("--host", "0.0.0.0"),
        ("--port", str(PORT)),
        ("--metrics-port", str(METRICS_PORT)),
        ("--drain", str(DRAIN_SECONDS)),
        ("--cache-dir", _CACHE),
        ("--cache-memory", str(_cache_memory(pool))),
    ]
    if spec.cache.disk:
        options.append(("--cache-disk", str(parse_bytes(spec.cache.disk))))
    if spec.cache.eviction != "LFU":
        options.append(("--eviction", spec.cache.eviction))
    if release.token_secret:
        options.append(("--token-file", f"{_TOKEN}/token"))
    options += [("--prefix", prefix) for prefix in spec.storage.prefixes]
    options += [("--trust-format", name) for name in spec.trust.formats]
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
    limits, requests = stated.get("limits", {}), stated.get("requests", {})
    requests = {"cpu": "100m", "memory": _DEFAULT_REQUEST} | limits | requests
    default = max(_DEFAULT_LIMIT, requests["memory"], key=parse_quantity)
    return {"limits": {"memory": default, **limits}, "requests": requests}


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
        ({"name": "cache", "emptyDir": _cache_volume(pool)}, {"name": "cache", "mountPath": _CACHE}),
        ({"name": "tmp", "emptyDir": {}}, {"name": "tmp", "mountPath": "/tmp"}),
    ]
    if release.token_secret:
        # The whole folder: a file mounted by `subPath` would never change.
        volume = {"name": "token", "secret": {"secretName": release.token_secret, "defaultMode": 0o440}}
        mounts.append((volume, {"name": "token", "mountPath": _TOKEN, "readOnly": True}))
    claim = pool.spec.storage.volume
    if claim is not None:
        source = {"claimName": claim.claim_name, "readOnly": True}
        mount = {"name": "models", "mountPath": claim.mount_path, "readOnly": True}
        mounts.append(({"name": "models", "persistentVolumeClaim": source}, mount))
    return mounts


def _cache_volume(pool: PredictorPool) -> Manifest:
    """The kubelet evicts a pod over its volume's limit, so there is room for what is on its way in, too: an
    artifact may be as large as the larger of the tiers.
    """
    if not pool.spec.cache.disk:
        return {}
    disk = parse_bytes(pool.spec.cache.disk)
    return {"sizeLimit": str(disk + max(disk, _cache_memory(pool)))}


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
