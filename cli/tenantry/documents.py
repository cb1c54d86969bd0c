"""JSON and YAML as kubectl prints them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml


def as_json(content: Any) -> str:
    return json.dumps(content, indent=4, ensure_ascii=False) + "\n"


def as_yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)


def listed(contents: Sequence[Any]) -> dict[str, Any]:
    """Several objects as one."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(contents)}
