"""The chart's schema of `defaultPool.spec` says what the API server says of a PredictorPool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from refusals import refusals
from tenantry_core.crds import crd_directory
from tenantry_operator.validation import InvalidManifest, admit

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "deploy/helm/tenantry/values.schema.json").read_text())
BY_TEMPLATES = {"predictorpool-env-twice"}
"""What JSON schema cannot say; the chart's tests/values_test.yaml has it."""

REFUSED = {
    refusal.name: refusal.manifests[-1]["spec"]
    for refusal in refusals()
    if refusal.name.startswith("predictorpool-") and refusal.path.startswith("spec.")
}
REFUSED |= {
    "bucket-in-upper-case": {"storage": {"prefixes": ["s3://Models/"]}},
    "prefix-twice": {"storage": {"prefixes": ["s3://models/", "s3://models/"]}},
    "joblib": {"trust": {"formats": ["onnx", "joblib"]}},
    "no-amount": {"template": {"resources": {"limits": {"memory": "lots"}}}},
    "values-for-exists": {
        "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}
    },
    "too-many-labels": {"namespaceSelector": {"matchLabels": {f"l{n}": "" for n in range(65)}}},
    "unknown-member": {"replica": 1},
}
TAKEN: dict[str, dict[str, Any]] = {
    "nothing": {},
    "example": yaml.safe_load((crd_directory() / "examples/predictorpool.yaml").read_text())["spec"],
    "prefixes": {"storage": {"prefixes": ["s3://models/{namespace}/", "file:///models/", "gs://Any_One/x/"]}},
    "amounts": {"template": {"resources": {"limits": {"memory": 2147483648, "cpu": "500m", "a/b": "2e9"}}}},
    "selector": {
        "namespaceSelector": {
            "matchExpressions": [
                {"key": "a", "operator": "In", "values": ["b"]},
                {"key": "a", "operator": "Exists"},
            ]
        }
    },
}


def in_chart(spec: dict[str, Any]) -> bool:
    return Draft7Validator(SCHEMA).is_valid({"defaultPool": {"spec": spec}})


def in_cluster(spec: dict[str, Any]) -> bool:
    manifest = {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "PredictorPool",
        "metadata": {"name": "default"},
    }
    try:
        admit(manifest | {"spec": spec})
    except InvalidManifest:
        return False
    return True


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_the_api_server_refuses(name: str) -> None:
    assert not in_cluster(REFUSED[name])
    assert in_chart(REFUSED[name]) == (name in BY_TEMPLATES)


@pytest.mark.parametrize("name", TAKEN)
def test_takes_what_the_api_server_takes(name: str) -> None:
    assert in_cluster(TAKEN[name])
    assert in_chart(TAKEN[name])
