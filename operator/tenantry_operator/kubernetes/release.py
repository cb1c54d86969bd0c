"""What all children of pools have in common, whichever pool they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenantry_core.resources import API_VERSION, PredictorPool

Manifest = dict[str, Any]

MANAGER = "tenantry-operator"
"""Who holds the fields that the operator sets."""
NAME_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGED_BY = {"app.kubernetes.io/managed-by": "tenantry"}
"""On everything that the operator makes."""


@dataclass(frozen=True, slots=True)
class Release:
    """What the operator's own configuration adds to every pool."""

    namespace: str
    image: str
    pull_policy: str = ""
    """Empty: what Kubernetes does for the image's tag."""
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    """Of pods whose pool names none; empty: the namespace's default."""
    token_secret: str = ""
    """Secret with the key `token`; empty: predictors accept whoever reaches them."""


def child_name(name: str) -> str:
    """Of a pool's or a slot's child: no pool can be called so that its children meet the chart's."""
    return f"tenantry-predictor-{name}"


def child_metadata(pool: PredictorPool, release: Release, name: str, labels: dict[str, str]) -> Manifest:
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
        "labels": child_labels(labels),
        "ownerReferences": [owner],
    }


def child_labels(labels: dict[str, str]) -> dict[str, str]:
    return {NAME_LABEL: "tenantry", COMPONENT_LABEL: "predictor", **MANAGED_BY, **labels}
