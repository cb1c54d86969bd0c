"""Nodes without a machine. kwok keeps them Ready and plays their kubelets."""

from __future__ import annotations

import json
from typing import Any


def node_manifest(name: str) -> dict[str, Any]:
    """A large node, so that a test is never about room unless it asks for much."""
    resources = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "1000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "status": {"capacity": resources, "allocatable": resources},
    }


def count_ready(nodes: str) -> int:
    """How many nodes of a NodeList (JSON) are Ready and take pods."""
    return sum(
        any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
        for node in json.loads(nodes)["items"]
        if not node["spec"].get("taints") and (conditions := node["status"].get("conditions", []))
    )
